#!/usr/bin/env bash
# Debian 13's podman on an older Debian: runs SCRIPT in a mount namespace of its own whose root is a trixie with podman 5, since Debian 12's
# podman fails on Secrets in `kube play`. podman5.sh ROOT SCRIPT DIR     ROOT is kept; DIR appears, writable, as /work
set -euo pipefail
root=$1 script=$2 dir=$3
if [ ! -e "$root/.done" ]; then
  rm -rf "$root"
  debootstrap --variant=minbase trixie "$root" "$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)" >"$root.log" 2>&1
  chroot "$root" apt-get -qq install -y --no-install-recommends podman runc conmon netavark aardvark-dns catatonit iptables nftables >>"$root.log" 2>&1
  mkdir -p "$root/etc/containers" "$root/old" "$root/work"
  cat >"$root/etc/containers/containers.conf" <<'EOT'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
firewall_driver = "iptables"
EOT
  printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' >"$root/etc/containers/storage.conf"
  echo 'unqualified-search-registries = ["docker.io"]' >"$root/etc/containers/registries.conf"
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$root/etc/containers/policy.json"
  touch "$root/.done"
fi
cp "$script" "$root/script"
# podman needs its root to be a mount point, hence pivot_root instead of chroot
exec unshare -m --propagation private bash -c '
  mount --bind "$1" "$1"
  for d in proc sys dev; do mount --rbind /$d "$1/$d"; done
  mount -t tmpfs tmpfs "$1/run"
  mount --bind "$2" "$1/work"
  cd "$1"
  pivot_root . old
  umount -l /old
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PODMAN_IGNORE_CGROUPSV1_WARNING=1 bash /script' _ "$root" "$dir"
