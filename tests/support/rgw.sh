#!/usr/bin/env bash
# A private Ceph RGW (one mon, one OSD, one radosgw) on loopback, for tests and the demo. No systemd, no root.
# Debian packages: radosgw ceph-mon ceph-osd (they bring ceph-common and ceph-base); without them it exits 77 and says so.
#   rgw.sh start DIR       prints "ready ..." once it answers; DIR/env then holds the settings. Again after a kill: the same data and port
#   rgw.sh stop DIR        TERM to the recorded processes, KILL after 20 s; data stays
#   rgw.sh kill DIR rgw    KILL -9 to radosgw
#   rgw.sh run CMD...      start in a temporary folder, run CMD with DIR/env loaded, stop, remove
# Environment: S3_TLS=1 (https with an own CA), S3_BUCKET (default test), S3_STS=1 (session tokens), TMPDIR. Objects lie in memory.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/s3_server.sh"

stop_all() { # DIR SIGNAL; the OSD writes its objects out when it is told to stop
    finish "$1" rgw "$2"
    if alive "$1" osd; then finish "$1" osd "$2"; touch "$1/clean"; fi
    finish "$1" mon "$2"
}
ceph_() { ceph -c "$dir/ceph.conf" --connect-timeout 20 "$@"; }
cluster() { # first start only: configuration, keys, mon and osd stores
    local v2 v1 fsid classes
    freeport; v2=$port_found; freeport; v1=$port_found
    fsid=$(cat /proc/sys/kernel/random/uuid)
    # Debian 13's default lacks the first slash. rgw_mp_lock_max_time: a radosgw that is killed as it completes an upload leaves the upload
    # locked for so long; the default, ten minutes, is longer than any client tries
    classes=$(find /usr/lib /usr/lib64 -maxdepth 2 -type d -name rados-classes 2>/dev/null | head -n 1) || true
    cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = $dir/keyring
run_dir = $dir/run
admin_socket = $dir/run/\$name.\$pid.asok
log_file = $dir/\$name.log
mon_cluster_log_file = $dir/cluster.log
crash_dir = $dir/run
setuser =
pid_file =
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_autoscale_mode = off
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_max_pg_per_osd = 1000
auth_allow_insecure_global_id_reclaim = false
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
mon_data_avail_crit = 1
mon_data_avail_warn = 2
mon_osd_full_ratio = 0.99
[mon]
mon_data = $dir/mon
mon_rocksdb_options = write_buffer_size=4194304,compression=kNoCompression
[osd]
osd_data = $dir/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
memstore_page_set = true
osd_fast_shutdown = false
osd_journal =
${classes:+osd_class_dir = $classes}
osd_class_load_list = *
osd_class_default_list = *
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1
osd_memory_target = 939524096
osd_max_object_name_len = 2048
[client.rgw]
rgw_data = $dir/run
rgw_dns_name = s3.localhost
objecter_tick_interval = 0.2
rgw_thread_pool_size = 32
rgw_num_rados_handles = 1
rgw_num_control_oids = 1
rgw_run_sync_thread = false
rgw_enable_quota_threads = false
rgw_enable_lc_threads = false
rgw_enable_ops_log = false
rgw_enable_usage_log = false
rgw_gc_max_objs = 1
rgw_lc_max_objs = 1
rgw_mp_lock_max_time = 5
rgw_override_bucket_index_max_shards = 1
rgw_dynamic_resharding = false
rgw_data_log_num_shards = 1
rgw_md_log_max_shards = 1
rgw_reshard_num_logs = 1
CONF
    [ "${S3_STS:-0}" = 1 ] && printf '%s\n' 'rgw_s3_auth_use_sts = true' 'rgw_sts_key = 0123456789abcdef' >>"$dir/ceph.conf"
    (
        set -e
        ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
        ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
        ceph-authtool "$dir/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
        ceph-authtool "$dir/keyring" --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx'
        monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]" "$dir/monmap"
        mkdir -p "$dir/mon" "$dir/osd"
        ceph-mon -c "$dir/ceph.conf" -i a --mkfs --monmap "$dir/monmap" --keyring "$dir/keyring"
    ) >>"$dir/setup.log" 2>&1 || { tail -n 5 "$dir/setup.log" >&2; die "mkfs failed, see $dir/setup.log"; }
}
account() { # UID KEY SECRET
    radosgw-admin -c "$dir/ceph.conf" -n client.rgw user create --uid "$1" --display-name "$1" \
        --access-key "$2" --secret "$3" >>"$dir/setup.log" 2>&1 || die "user create $1 failed, see $dir/setup.log"
}
start() {
    local first=1 port p n i policy front scheme=http
    mine "$1"
    [ ${#dir} -lt 70 ] || die "$dir is too long for a socket path"
    if alive "$dir" mon && alive "$dir" osd && alive "$dir" rgw; then trap - EXIT; die "already running in $dir"; fi
    for n in ceph-mon ceph-osd radosgw radosgw-admin ceph; do
        command -v $n >/dev/null || { dir=; absent "there is no $n (packages radosgw ceph-mon ceph-osd)"; }
    done
    bucket=${S3_BUCKET:-test} taken=
    if [ -s "$dir/env" ]; then # a restart: same scheme as before
        first=0
        if grep -q ENDPOINT=https "$dir/env"; then S3_TLS=1; else S3_TLS=0; fi
    fi
    # left over from a first start that failed
    [ $first = 0 ] || { stop_all "$dir" KILL; rm -rf "$dir/mon" "$dir/osd" "$dir/run" "$dir/keyring" "$dir/clean"; }
    mkdir -p "$dir/run"
    [ $first = 1 ] || alive "$dir" osd || [ -e "$dir/clean" ] || die "the objects died with their OSD: start in a fresh folder"
    if [ "${S3_TLS:-0}" = 1 ]; then certs "$dir"; scheme=https; else unset S3_TLS; fi
    [ $first = 1 ] && cluster
    if ! alive "$dir" mon; then spawn "$dir" mon ceph-mon -c "$dir/ceph.conf" -i a -f; fi
    if ! alive "$dir" osd; then
        if [ $first = 1 ]; then
            # one session of the ceph tool for everything the mon must know
            {
                echo "osd new $(cat /proc/sys/kernel/random/uuid) 0"
                echo "osd crush add osd.0 1.0 root=default"
                for p in .rgw.root default.rgw.log default.rgw.control default.rgw.meta \
                    default.rgw.buckets.index default.rgw.buckets.data default.rgw.buckets.non-ec; do
                    echo "osd pool create $p 1 1 --yes-i-really-mean-it" # a name that begins with a dot
                    echo "osd pool application enable $p rgw"
                done
            } >"$dir/commands"
            ceph_ <"$dir/commands" >>"$dir/setup.log" 2>&1 || { tail -n 5 "$dir/setup.log" >&2; die "ceph commands failed"; }
            ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$(ceph_ osd dump 2>/dev/null | sed -n 's/^osd\.0 .* \([0-9a-f-]\{36\}\)$/\1/p')" \
                >>"$dir/setup.log" 2>&1 || { tail -n 5 "$dir/setup.log" >&2; die "osd mkfs failed"; }
        fi
        rm -f "$dir/clean"
        spawn "$dir" osd ceph-osd -c "$dir/ceph.conf" -i 0 -f
    fi
    if [ $first = 0 ]; then port=$(sed -n 's/^export S3_PORT=//p' "$dir/env")
    else freeport; port=$port_found; fi
    if [ $scheme = https ]; then
        front="beast ssl_endpoint=127.0.0.1:$port ssl_certificate=$dir/tls/server.pem ssl_private_key=$dir/tls/server.key"
    else
        front="beast endpoint=127.0.0.1:$port"
    fi
    alive "$dir" rgw || spawn "$dir" rgw radosgw -c "$dir/ceph.conf" -n client.rgw -f --rgw-frontends "$front"
    url=$scheme://127.0.0.1:$port
    for i in $(seq 600); do
        for n in mon osd rgw; do
            alive "$dir" $n || { tail -n 5 "$dir/$n.out" >&2; die "$n died, see $dir"; }
        done
        curl -s -o /dev/null --noproxy '*' --max-time 2 ${S3_TLS:+--cacert "$dir/tls/ca.pem"} "$url/swift/healthcheck" &&
            owns "$(cut -d' ' -f1 "$dir/rgw.pid")" "$port" && break
        sleep 0.1
        [ "$i" != 600 ] || die "no answer in 60 s, see $dir"
    done
    if [ $first = 1 ]; then
        # three accounts: owner of the bucket, one who may only read it, one with no rights at all
        account owner ownerkey ownersecret0123456789
        account reader readerkey readersecret0123456789
        account other otherkey othersecret0123456789
        s3 PUT "/$bucket" "" ownerkey ownersecret0123456789 || die "create bucket failed, see $dir"
        policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam:::user/reader"]},"Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::'$bucket'","arn:aws:s3:::'$bucket'/*"]}]}'
        s3 PUT "/$bucket?policy=" "$policy" ownerkey ownersecret0123456789 || die "bucket policy failed, see $dir"
        if [ "${S3_STS:-0}" = 1 ]; then # a role that the owner may assume: POST Action=AssumeRole to the same endpoint
            radosgw-admin -c "$dir/ceph.conf" -n client.rgw role create --role-name tester --path / --assume-role-policy-doc \
                '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam:::user/owner"]},"Action":["sts:AssumeRole"]}]}' \
                >>"$dir/setup.log" 2>&1 || die "role create failed, see $dir/setup.log"
            radosgw-admin -c "$dir/ceph.conf" -n client.rgw role-policy put --role-name tester --policy-name all --policy-doc \
                '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":"arn:aws:s3:::*"}]}' \
                >>"$dir/setup.log" 2>&1 || die "role-policy put failed, see $dir/setup.log"
        fi
    fi
    {
        echo "export S3_SCRIPT=$(realpath "$0") S3_DIR=$dir S3_PROCESS=rgw"
        echo "export S3_SERVER=rgw S3_ENDPOINT=$url S3_REGION=us-east-1 S3_BUCKET=$bucket"
        echo "export S3_PORT=$port"
        echo "export S3_OWNER_KEY=ownerkey S3_OWNER_SECRET=ownersecret0123456789"
        echo "export S3_READER_KEY=readerkey S3_READER_SECRET=readersecret0123456789"
        echo "export S3_OTHER_KEY=otherkey S3_OTHER_SECRET=othersecret0123456789"
        echo "export S3_VHOST_ENDPOINT=${url/127.0.0.1/s3.localhost}"
        grep -q '^rgw_s3_auth_use_sts' "$dir/ceph.conf" && echo "export S3_ROLE_ARN=arn:aws:iam:::role/tester"
        [ $scheme = https ] && echo "export S3_CA=$dir/tls/ca.pem"
        true
    } >"$dir/env.new"
    mv "$dir/env.new" "$dir/env"
    echo "ready $url pid $(cut -d' ' -f1 "$dir/rgw.pid")"
}

s3_server_main "$@"
