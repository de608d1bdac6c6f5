#!/usr/bin/env bash
# Work on the tables that need a GPU, for at most MINUTES; call it again until it says that nothing is left.
#
#   bash scripts/gpu_tables.sh OUT [MINUTES]
#   SCALE=smoke DEVICE=cpu bash scripts/gpu_tables.sh /tmp/smoke     # tries all of it on a CPU
#
# A small network leaves most of a large GPU idle, so the lines below run side by side. Tables that share
# trained networks stand on the same line. Runs are checkpointed: what the time cuts off continues next time.
set -uo pipefail
out=${1:?name the folder of the runs}
minutes=${2:-12}
scale=${SCALE:-paper}
device=${DEVICE:-cuda}
mkdir -p "$out"

lines=(
  "ib-rar-table3 ib-rar-table4-vgg16 ib-rar-table5 ib-rar-table6"
  "ib-rar-table4-resnet18"
  "ib-rar-table1-cifar10"
  "reevaluation-figure3"
  "aib-table1-cifar10"
)
pids=()
for number in "${!lines[@]}"; do
  # shellcheck disable=SC2086 — the names are separate arguments.
  timeout --signal=INT --kill-after=30 "${minutes}m" narrows reproduce --queue ${lines[$number]} \
    --scale "$scale" --device "$device" --out "$out/runs" --results "$out/records" \
    >"$out/line$number.log" 2>&1 &
  pids+=($!)
done
left=0
for number in "${!pids[@]}"; do
  # The command ends well where it has left a table out, which its log names.
  if wait "${pids[$number]}" && ! grep -q " left out: " "$out/line$number.log"; then
    echo "finished: ${lines[$number]}"
  else
    left=1
    echo "continues next time: ${lines[$number]} ($(tail -n 1 "$out/line$number.log"))"
  fi
done
[ "$left" = 0 ] && echo "nothing is left; the records are in $out/records"
