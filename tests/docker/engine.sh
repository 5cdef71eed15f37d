# buildah and podman without a Docker engine, their state in a folder of their own. Sourced; needs bash and root on Debian.
#   engine_setup DIR     installs what is missing, imports a base image under the name that docker/Dockerfile begins from
# shellcheck shell=bash
export STORAGE_DRIVER CONTAINERS_CONF CONTAINERS_STORAGE_CONF CONTAINERS_REGISTRIES_CONF
base_image=docker.io/library/debian:trixie-slim

engine_driver() { # overlay where DIR's file system bears it; vfs, where every layer is a whole copy, works everywhere
  local at=$1/overlay-tried driver=vfs
  mkdir -p "$at"/{lower,upper,work,merged}
  if mount -t overlay overlay -o "lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work" "$at/merged" 2>/dev/null; then
    umount "$at/merged"
    driver=overlay
  fi
  rm -rf "$at"
  echo $driver
}

engine_configure() { # cgroupfs and runc: no systemd, and crun refuses a hybrid cgroup tree
  local dir=$1
  STORAGE_DRIVER=$(engine_driver "$dir")
  CONTAINERS_CONF=$dir/containers.conf CONTAINERS_STORAGE_CONF=$dir/storage.conf CONTAINERS_REGISTRIES_CONF=$dir/registries.conf
  printf '[storage]\ndriver = "%s"\nrunroot = "%s/run-%s"\ngraphroot = "%s/storage-%s"\n' "$STORAGE_DRIVER" "$dir" "$STORAGE_DRIVER" "$dir" \
    "$STORAGE_DRIVER" >"$CONTAINERS_STORAGE_CONF"
  cat >"$CONTAINERS_CONF" <<'EOT'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
netns = "host"
[network]
network_backend = "netavark"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
EOT
  echo 'unqualified-search-registries = ["docker.io"]' >"$CONTAINERS_REGISTRIES_CONF"
  [ -e /etc/containers/policy.json ] || { mkdir -p /etc/containers; echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json; }
}

# The archive that this machine itself uses, its first stanza the main one and the second one security's: two words.
engine_archive() {
  local list=/etc/apt/sources.list.d/debian.sources
  [ -e "$list" ] || { echo http://deb.debian.org/debian http://deb.debian.org/debian-security; return; }
  sed -n 's/^URIs: *//p' "$list" | head -n 2 | tr '\n' ' '
}

engine_import_base() { # as the official slim image: no documents, an apt that leaves no caches, updates and security
  local dir=$1 root=$1/root main security
  read -r main security <<<"$(engine_archive)"
  rm -rf "$root"
  [ -e /usr/share/debootstrap/scripts/trixie ] || ln -s sid /usr/share/debootstrap/scripts/trixie
  debootstrap --variant=minbase trixie "$root" "$main" >"$dir/debootstrap.log" 2>&1 || { tail -n 1 "$dir/debootstrap.log"; return 1; }
  printf 'path-exclude /usr/share/%s/*\n' doc man info locale lintian groff linda >"$root/etc/dpkg/dpkg.cfg.d/docker"
  echo 'path-include /usr/share/doc/*/copyright' >>"$root/etc/dpkg/dpkg.cfg.d/docker"
  printf 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };\nAcquire::Languages "none";\n' \
    >"$root/etc/apt/apt.conf.d/docker"
  rm -f "$root/etc/apt/sources.list"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n' \
    "$main" "trixie trixie-updates" "$security" trixie-security >"$root/etc/apt/sources.list.d/debian.sources"
  find "$root/usr/share/doc" -type f ! -name copyright -delete
  rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/*.log \
    "$root"/usr/share/{man,info,locale,lintian}/*
  tar -C "$root" -c . | podman import -q -c 'CMD ["bash"]' - "$base_image" >/dev/null || return 1
  rm -rf "$root"
}

engine_setup() {
  local dir=$1 program missing=''
  mkdir -p "$dir/ca"
  for program in buildah podman runc conmon debootstrap catatonit; do command -v "$program" >/dev/null || missing+=" $program"; done
  if [ -n "$missing" ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah podman runc conmon debootstrap catatonit netavark \
      aardvark-dns iptables >"$dir/apt.log" 2>&1 || { tail -n 5 "$dir/apt.log" >&2; return 1; }
  fi
  engine_configure "$dir"
  buildah inspect --type image "$base_image" >/dev/null 2>&1 || engine_import_base "$dir"
}

# The first error that a log tells (those after it only pass it on), else its last line.
engine_reason() {
  awk '/systemd connection/ { next } tolower($0) ~ /error/ { print; found = 1; exit } { last = $0 } END { if (!found) print last }' "$1"
}

# Why images cannot be built here, in words; nothing where they can.
engine_wanting() {
  local dir=$1 need=6 free
  awk '$5 == "/" { found = 1 } END { exit !found }' /proc/self/mountinfo ||
    { echo "this is a chroot whose root is no mount point: no container can be given a root of its own in it"; return; }
  engine_setup "$dir" >"$dir/setup.log" 2>&1 ||
    { echo "buildah, podman or a base image could not be had: $(engine_reason "$dir/setup.log")"; return; }
  printf 'FROM %s\nRUN true\n' "$base_image" | buildah bud --isolation chroot --pull-never -f - "$dir/ca" >"$dir/setup.log" 2>&1 ||
    { echo "buildah cannot run a step: $(engine_reason "$dir/setup.log")"; return; }
  podman run --rm --network host --read-only --cap-drop all --pids-limit 256 --memory 64m "$base_image" true >"$dir/setup.log" 2>&1 ||
    { echo "podman cannot run a container: $(engine_reason "$dir/setup.log")"; return; }
  [ "$STORAGE_DRIVER" = overlay ] || need=25
  free=$(($(df --output=avail -k "$dir" | tail -n 1) / 1000000))
  [ "$free" -ge $need ] || echo "$dir has $free GB free, $need are needed"
}

# engine_bud ARGUMENTS of docker build. A machine that reaches package registries through an authority of its own needs that one inside the
# build: it is mounted, and stays in no layer.
engine_bud() {
  local ca=$engine_dir/ca
  mkdir -p "$ca/pip"
  cp -L /etc/ssl/certs/ca-certificates.crt "$ca/all.pem"
  printf '[global]\ncert = /run/ca/all.pem\n' >"$ca/pip/pip.conf"
  buildah bud --layers --isolation chroot --pull-never --format docker -v "$ca:/run/ca:ro" -v "$ca/pip:/root/.config/pip:ro" "$@"
}

engine_build() { # TARGET TAG: docker/Dockerfile as it is
  local target=$1 tag=$2
  engine_bud --build-arg VERSION="$(sed -n 's/^project(mffa VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    -f docker/Dockerfile --target "$target" -t "$tag" . >"$engine_dir/build-$target.log" 2>&1 ||
    { tail -n 40 "$engine_dir/build-$target.log" >&2; return 1; }
}
