# ./run demo: a data set and weights, a private service, one pipeline job typed with redis-cli, its result. Sourced by ./run.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/service.sh"

demo_stop() {
  local rc=$?
  trap - EXIT
  service_stop
  exit $rc
}

# Sets $data and $weights to absolute folders; what is not given is generated.
demo_inputs() {
  local bin=$1 profile=$2 out=$3
  case $profile in small | paper) ;; *) die "profile \"$profile\": expected small or paper" ;; esac
  [ -z "$data" ] || [ -d "$data" ] || die "there is no data set folder \"$data\": give one with train/good and test/ below it"
  [ -z "$weights" ] || [ -d "$weights" ] || die "there is no weights folder \"$weights\": give one with a ResNet and a CaiT as safetensors"
  if [ -z "$weights" ] && [ -d "weights/$profile" ]; then weights=weights/$profile; fi
  if [ -z "$weights" ] && [ "$profile" != small ]; then die "profile \"$profile\" needs weights: ./run weights $profile fetches them, or --weights DIR names them"; fi
  if [ -z "$data" ] || [ -z "$weights" ]; then
    [ -d "$out/sample/dataset" ] && [ -d "$out/sample/weights" ] || "$bin/mffactl" sample "$out/sample" >&2 || die "the sample could not be made"
  fi
  if [ -z "$weights" ]; then
    weights=$out/sample/weights
    say "weights: seeded random values (nothing pretrained), in $weights"
  else
    say "weights: $weights ($(cd "$weights" 2>/dev/null && ls -- *.safetensors 2>/dev/null | tr '\n' ' '))"
  fi
  data=$(realpath -e -- "${data:-$out/sample/dataset}")
  weights=$(realpath -e -- "$weights")
}

demo() {
  local bin=$1 data=$2 weights=$3 profile=$4 out=$5 ids last run
  shift 5
  mkdir -p "$out" 2>/dev/null || die "the output folder \"$out\" cannot be made; --out names another"
  out=$(realpath -- "$out")
  demo_inputs "$bin" "$profile" "$out"
  # the sample's first look takes seconds with 2 epochs; real data keeps the job's own default
  [[ $data != "$out/sample/dataset" || " $* " == *" epochs "* || " $* " == *" psg off "* ]] || set -- epochs 2 "$@"
  export MFFA_BEAT_MS=${MFFA_BEAT_MS:-500} # a person looks on
  service_start "$bin" "$out" || die "the service did not start; the logs are in $out/log"
  trap demo_stop EXIT
  trap 'exit 130' INT TERM
  set -- pipeline dataset "file://$data" weights "file://$weights" output "file://$out/results" profile "$profile" "$@"
  say "redis-cli FCALL mffa_submit 0 $*"
  ids=$(service_cli -e --raw FCALL mffa_submit 0 "$@") || die "the queue refused the job, for the reason above"
  # shellcheck disable=SC2086
  "$bin/mffactl" watch $ids >&2 || die "the job did not end well; the worker's log is $out/log/worker.log"
  last=$(tail -n 1 <<<"$ids")
  run=$(service_field "$last" result)
  run=${run#file://}
  printf 'result image_auroc=%s pixel_auroc=%s aupro=%s images=%s heatmaps=%s report=%s\n' "$(service_field "$last" image_auroc)" \
    "$(service_field "$last" pixel_auroc)" "$(service_field "$last" aupro)" "$(service_field "$last" images)" "$run/heatmaps" "$run/report.html"
}
