# ./run demo: a data set and weights, a private service, one pipeline job typed with redis-cli, its result. Sourced by ./run.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/service.sh"

s3_dir='' # of the private S3 server

demo_stop() {
  local rc=$?
  trap - EXIT
  service_stop
  [ -z "$s3_dir" ] || { tests/support/rgw.sh stop "$s3_dir"; rm -rf "$s3_dir"; }
  exit $rc
}

# Sets $data and $weights to absolute folders; what is not given is generated.
demo_inputs() {
  local bin=$1 profile=$2 out=$3
  case $profile in small | paper) ;; *) die "profile \"$profile\": expected small or paper" ;; esac
  [ -z "$data" ] || [ -d "$data" ] || die "there is no data set folder \"$data\": give one with train/good and test/ below it"
  [ -z "$weights" ] || [ -d "$weights" ] || die "there is no weights folder \"$weights\": give one with a ResNet and a CaiT as safetensors"
  if [ -z "$weights" ] && [ -d "weights/$profile" ]; then weights=weights/$profile; fi
  if [ -z "$data" ] || [ -z "$weights" ]; then
    local sample=$out/sample made=(profile "$profile")
    [ "$profile" = small ] || sample=$sample-$profile made+=(train 8 good 2 defects 1) # a transformer of 4096 tokens takes half a minute a picture on two cores
    [ -d "$sample/dataset" ] && [ -d "$sample/weights" ] || "$bin/mffactl" sample "$sample" "${made[@]}" >&2 || die "the sample could not be made"
  fi
  if [ -z "$weights" ]; then
    weights=$sample/weights
    say "weights: seeded random values (nothing pretrained), in $weights"
  else
    say "weights: $weights ($(cd "$weights" 2>/dev/null && ls -- *.safetensors 2>/dev/null | tr '\n' ' '))"
  fi
  data=$(realpath -e -- "${data:-$sample/dataset}")
  weights=$(realpath -e -- "$weights")
}

# A private S3 server; data and weights go there. Sets $place and the two URLs.
demo_s3() {
  local bin=$1
  s3_dir=$(mktemp -d "${TMPDIR:-/tmp}/mffa-s3.XXXXXX")
  say "starting a private S3 server (Ceph RGW)"
  S3_BUCKET=plant tests/support/rgw.sh start "$s3_dir" >/dev/null || die "the S3 server did not start"
  . "$s3_dir/env"
  unset AWS_SESSION_TOKEN
  export MFFA_S3_ENDPOINT=$S3_ENDPOINT MFFA_S3_REGION=$S3_REGION
  export AWS_ACCESS_KEY_ID=$S3_OWNER_KEY AWS_SECRET_ACCESS_KEY=$S3_OWNER_SECRET MFFA_ALLOWED_URLS=s3://plant
  place=s3://plant
  "$bin/mffactl" put "$data" "$place/dataset" >&2 || die "the data set could not be uploaded"
  "$bin/mffactl" put "$weights" "$place/weights" >&2 || die "the weights could not be uploaded"
  data_url=$place/dataset weights_url=$place/weights
}

demo() {
  local bin=$1 data=$2 weights=$3 profile=$4 out=$5 storage=$6 ids last run place data_url weights_url
  shift 6
  mkdir -p "$out" 2>/dev/null || die "the output folder \"$out\" cannot be made; --out names another"
  out=$(realpath -- "$out")
  demo_inputs "$bin" "$profile" "$out"
  # the sample's first look takes seconds with 2 epochs; real data keeps the job's own default
  [[ $data != "$out/sample"*"/dataset" || " $* " == *" epochs "* || " $* " == *" psg off "* ]] || set -- epochs 2 "$@"
  export MFFA_BEAT_MS=${MFFA_BEAT_MS:-500} # a person looks on
  place=file://$out data_url=file://$data weights_url=file://$weights
  trap demo_stop EXIT
  trap 'exit 130' INT TERM
  [ "$storage" = file ] || demo_s3 "$bin"
  service_start "$bin" "$out" || die "the service did not start; the logs are in $out/log"
  set -- pipeline dataset "$data_url" weights "$weights_url" output "$place/results" profile "$profile" "$@"
  say "redis-cli FCALL mffa_submit 0 $*"
  ids=$(service_cli -e --raw FCALL mffa_submit 0 "$@") || die "the queue refused the job, for the reason above"
  # shellcheck disable=SC2086
  "$bin/mffactl" watch $ids >&2 || die "the job did not end well; the worker's log is $out/log/worker.log"
  last=$(tail -n 1 <<<"$ids")
  run=$(service_field "$last" result)
  if [ "$storage" = s3 ]; then
    say "mffactl get $last $out/results/$last        (from $run)"
    "$bin/mffactl" get "$last" "$out/results/$last" >&2 || die "the result could not be fetched"
    run=$out/results/$last
  fi
  run=${run#file://}
  printf 'result image_auroc=%s pixel_auroc=%s aupro=%s images=%s heatmaps=%s report=%s\n' "$(service_field "$last" image_auroc)" \
    "$(service_field "$last" pixel_auroc)" "$(service_field "$last" aupro)" "$(service_field "$last" images)" "$run/heatmaps" "$run/report.html"
}
