#!/usr/bin/env bash
# A private versitygw (a Go module over a folder) on loopback, for tests: the second, independent S3 server, stricter on regions, checksums
# and conditional multipart than rgw.sh's. Same commands: start DIR, stop DIR, kill DIR server, run CMD...
# The binary: VERSITYGW, else the cached one, else one built and cached here where Go is at hand; without any it exits 77 and says so.
# Environment: S3_TLS=1 (https with an own CA), S3_REGION, S3_BUCKET (default test), TMPDIR.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/s3_server.sh"
version=v1.8.0

stop_all() { finish "$1" server "$2"; } # DIR SIGNAL

find_binary() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/mffa/versitygw-$version
    vgw=${VERSITYGW:-$cache/versitygw}
    [ ! -x "$vgw" ] || return 0
    command -v go >/dev/null || absent "there is no versitygw and no Go to build it with"
    echo "building versitygw $version, once, into $cache" >&2
    GOBIN=$cache go install "github.com/versity/versitygw/cmd/versitygw@$version" >&2 || absent "versitygw could not be built (go's reason is above)"
}
launch() { # DIR PORT: start the process and wait until it answers; 1 = not this port
    local dir=$1 port=$2 i pid scheme=http args=()
    [ "${S3_TLS:-0}" = 1 ] && { scheme=https; args+=(--cert "$dir/tls/server.pem" --key "$dir/tls/server.key"); }
    args+=(--virtual-domain "s3.localhost:$port")
    args+=(--port "127.0.0.1:$port" --region "$region" --health /healthz --iam-dir "$dir/iam" --iam-cache-disable
        --keep-alive --access-log "$dir/access.log" --quiet posix)
    [ -e "$dir/sidecar" ] && args+=(--sidecar "$dir/sidecar")
    # absolute paths only: it changes its directory to the data folder
    ROOT_ACCESS_KEY=$root_key ROOT_SECRET_KEY=$root_secret GOMAXPROCS=2 spawn "$dir" server "$vgw" "${args[@]}" "$dir/data"
    read -r pid _ <"$dir/server.pid"
    for i in $(seq 300); do
        alive "$dir" server || { rm -f "$dir/server.pid"; return 1; }
        if curl -sf -o /dev/null --noproxy '*' --max-time 2 ${S3_TLS:+--cacert "$dir/tls/ca.pem"} \
            "$scheme://127.0.0.1:$port/healthz" 2>/dev/null; then
            owns "$pid" "$port" && { url=$scheme://127.0.0.1:$port; return 0; }
        fi
        sleep 0.05
    done
    finish "$dir" server TERM
    return 1
}
admin() { "$vgw" admin --allow-insecure -a "$root_key" -s "$root_secret" -r "$region" -er "$url" "$@" >>"$dir/setup.log" 2>&1; }

start() {
    local port policy first=1
    mine "$1"
    if alive "$dir" server; then trap - EXIT; die "already running in $dir"; fi
    find_binary
    region=${S3_REGION:-us-east-1} bucket=${S3_BUCKET:-test}
    root_key=rootkey root_secret=rootsecret0123456789
    if [ -s "$dir/env" ]; then # a restart: same scheme as before
        first=0
        if grep -q ENDPOINT=https "$dir/env"; then S3_TLS=1; else S3_TLS=0; fi
    else
        rm -rf "$dir/data" "$dir/iam" "$dir/sidecar" # left over from a first start that failed
    fi
    mkdir -p "$dir/data" "$dir/iam"
    if [ "${S3_TLS:-0}" = 1 ]; then certs "$dir"; else unset S3_TLS; fi
    # no user xattrs here: keep the metadata in a second folder instead
    if [ $first = 1 ] && ! python3 -c 'import os,sys; os.setxattr(sys.argv[1], "user.t", b"1"); os.removexattr(sys.argv[1], "user.t")' "$dir/data" 2>/dev/null; then
        mkdir -p "$dir/sidecar"
    fi
    url=
    if [ $first = 0 ]; then
        port=$(sed -n 's/^export S3_PORT=//p' "$dir/env")
        for _ in 1 2 3; do launch "$dir" "$port" && break; sleep 0.3; done
    else # below the ephemeral range, so no client socket can sit on it
        for _ in $(seq 20); do
            port=$((20000 + RANDOM % 12000))
            (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
            launch "$dir" "$port" && break
        done
    fi
    [ -n "$url" ] || { tail -n 5 "$dir/server.out" >&2; die "did not start, see $dir"; }
    if [ $first = 1 ]; then
        # three accounts: owner of the bucket, one who may only read it, one with no rights at all
        admin create-user -a ownerkey -s ownersecret0123456789 -r user || die "create-user failed, see $dir"
        admin create-user -a readerkey -s readersecret0123456789 -r user || die "create-user failed"
        admin create-user -a otherkey -s othersecret0123456789 -r user || die "create-user failed"
        admin create-bucket --owner ownerkey --bucket "$bucket" || die "create-bucket failed, see $dir"
        # once a policy exists, versitygw asks nothing else: even the owner must be named in it
        policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["ownerkey"]},"Action":"s3:*","Resource":["arn:aws:s3:::'$bucket'","arn:aws:s3:::'$bucket'/*"]},{"Effect":"Allow","Principal":{"AWS":["readerkey"]},"Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::'$bucket'","arn:aws:s3:::'$bucket'/*"]}]}'
        s3 PUT "/$bucket?policy=" "$policy" "$root_key" "$root_secret" ||
            die "bucket policy failed, see $dir"
    fi
    {
        echo "export S3_SCRIPT=$(realpath "$0") S3_DIR=$dir S3_PROCESS=server"
        echo "export S3_SERVER=versitygw S3_ENDPOINT=$url S3_REGION=$region S3_BUCKET=$bucket"
        echo "export S3_PORT=$port"
        echo "export S3_OWNER_KEY=ownerkey S3_OWNER_SECRET=ownersecret0123456789"
        echo "export S3_READER_KEY=readerkey S3_READER_SECRET=readersecret0123456789"
        echo "export S3_OTHER_KEY=otherkey S3_OTHER_SECRET=othersecret0123456789"
        [ "${S3_TLS:-0}" = 1 ] && echo "export S3_CA=$dir/tls/ca.pem"
        echo "export S3_VHOST_ENDPOINT=${url/127.0.0.1/s3.localhost}"
        true
    } >"$dir/env.new"
    mv "$dir/env.new" "$dir/env"
    echo "ready $url pid $(cut -d' ' -f1 "$dir/server.pid")"
}

s3_server_main "$@"
