# What the scripts of the S3 servers share (rgw.sh, versitygw.sh). Sourced; needs bash. Each server's script defines
#   start DIR, stop_all DIR SIGNAL     and the array bond: words in front of every command that is started
# and ends with: s3_server_main "$@"
# shellcheck shell=bash
set -euo pipefail
bond=()
PATH=$PATH:/usr/sbin:/sbin
die() { echo "$(basename "$0"): $*" >&2; exit 1; }
absent() { echo "skipped: $*"; exit 77; }

since() { # PID: its start time in ticks; empty when gone or a zombie
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'
}
alive() { # DIR NAME: is the recorded process still the one that was started?
    local pid start
    [ -s "$1/$2.pid" ] || return 1
    read -r pid start <"$1/$2.pid"
    [ -n "$start" ] && [ "$(since "$pid")" = "$start" ]
}
finish() { # DIR NAME SIGNAL
    local pid i
    if alive "$1" "$2"; then
        read -r pid _ <"$1/$2.pid"
        kill "-$3" "$pid" 2>/dev/null || true
        for i in $(seq 200); do alive "$1" "$2" || break; sleep 0.1; done
        if alive "$1" "$2"; then kill -KILL "$pid" 2>/dev/null || true; sleep 0.2; fi
    fi
    rm -f "$1/$2.pid"
}
spawn() { # DIR NAME CMD...: in the background, its process recorded
    local where=$1 name=$2 pid
    shift 2
    nohup "${bond[@]}" "$@" >>"$where/$name.out" 2>&1 </dev/null &
    pid=$!
    echo "$pid $(since "$pid")" >"$where/$name.pid"
}
freeport() {
    local p
    while :; do # below the ephemeral range, so no client socket can sit on it
        p=$((20000 + RANDOM % 12000))
        case " ${taken:-} " in *" $p "*) continue ;; esac
        (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || break
    done
    taken="${taken:-} $p"
    port_found=$p
}
owns() { # PID PORT: does this process itself listen on 127.0.0.1:PORT?
    local inode
    inode=$(awk -v a="$(printf '0100007F:%04X' "$2")" '$2 == a && $4 == "0A" { print $10 }' /proc/net/tcp)
    [ -n "$inode" ] && [ -n "$(find "/proc/$1/fd" -lname "socket:?$inode?" 2>/dev/null)" ]
}
mine() { # DIR: a new or empty folder becomes ours; anything else is refused, so that nothing foreign is ever removed
    dir=$(mkdir -p "$1" && cd "$1" && pwd)
    [ -e "$dir/.s3test" ] || [ -z "$(ls -A "$dir")" ] || { dir=; die "$1 is not empty and not a folder of this script"; }
    chmod 700 "$dir"
    touch "$dir/.s3test"
}
certs() { # DIR: CA and server certificate for 127.0.0.1, localhost and *.s3.localhost
    [ -s "$1/tls/server.pem" ] && return
    mkdir -p "$1/tls"
    (
        cd "$1/tls"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=s3 test CA" \
            -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout server.key -out server.csr
        printf '%s\n' "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:s3.localhost,DNS:*.s3.localhost" \
            "basicConstraints=CA:FALSE" "extendedKeyUsage=serverAuth" >ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile ext -out server.pem
    ) >"$1/tls/log" 2>&1 || die "openssl failed, see $1/tls/log"
}
s3() { # METHOD PATH?QUERY BODY KEY SECRET: one signed request to $url
    curl -sSf -X "$1" --noproxy '*' --max-time 30 ${S3_TLS:+--cacert "$dir/tls/ca.pem"} --data-binary "$3" \
        --aws-sigv4 "aws:amz:us-east-1:s3" -u "$4:$5" -H "x-amz-content-sha256: $(printf %s "$3" | sha256sum | cut -d' ' -f1)" \
        -H 'Content-Type: application/xml' "$url$2" >>"$dir/setup.log" 2>&1
}
run_with() { # CMD...: beside a server in a temporary folder
    local tmp rc child=
    tmp=$(mktemp -d "${TMPDIR:-/tmp}/s3test.XXXXXX")
    trap 'stop_all "'"$tmp"'" TERM; rm -rf "'"$tmp"'"' EXIT
    trap '[ -z "$child" ] || kill "$child" 2>/dev/null || true; exit 143' INT TERM HUP
    # should this script be killed outright, the kernel stops the server
    command -v setpriv >/dev/null && bond=(setpriv --pdeathsig KILL)
    start "$tmp" >&2
    set -a; . "$tmp/env"; set +a
    "$@" <&0 & # in the background, so that a signal to this script is acted on at once
    child=$!
    rc=0; wait "$child" || rc=$?
    child=
    exit $rc
}
s3_server_main() {
    case ${1:-} in
    start)
        [ $# = 2 ] || die "usage: start DIR"
        trap 'rc=$?; [ $rc = 0 ] || [ -z "${dir:-}" ] || stop_all "$dir" TERM; exit $rc' EXIT
        start "$2" ;;
    stop) [ $# = 2 ] || die "usage: stop DIR"; stop_all "$2" TERM ;;
    kill) [ $# = 3 ] || die "usage: kill DIR NAME"; finish "$2" "$3" KILL ;;
    run) shift; [ $# -gt 0 ] || die "usage: run CMD..."; run_with "$@" ;;
    *) die "usage: start DIR | stop DIR | kill DIR NAME | run CMD..." ;;
    esac
}
