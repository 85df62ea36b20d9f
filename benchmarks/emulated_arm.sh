#!/usr/bin/env bash
# The self-test of model files on emulated 64-bit ARM: no timing, but the kernels for ARM.
#
#   benchmarks/emulated_arm.sh WORK MODEL.onnx... [-- clf-eval's DATA]
#
# For Debian 12 on x86-64, as root, with qemu-user-static installed. WORK gets Debian's Python for arm64, and the aarch64
# wheels of numpy, onnxruntime and typer in the versions of constraints.txt. QEMU_CPU chooses the processor (cortex-a72,
# a Raspberry Pi 4's, by default; `max` is qemu's most capable). The exit code is that of the first model that fails.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,9s/^# \?//p' "$0" >&2; exit 2; }
mkdir -p "$1"
work=$(realpath "$1") project=$(realpath "$(dirname "$0")/..")
shift
export QEMU_CPU=${QEMU_CPU:-cortex-a72}

if [ ! -e "$work/ready" ]; then
    dpkg --add-architecture arm64
    apt-get update -q
    mkdir -p "$work"/{debs,root/proc,root/sys/devices/system/cpu,wheels,site}
    (cd "$work/debs" && apt-get download -q {python3.11,python3.11-minimal,libpython3.11-minimal,libpython3.11-stdlib,libc6}:arm64 \
        {libgcc-s1,libstdc++6,zlib1g,libexpat1,libssl3,libbz2-1.0,liblzma5,libffi8,libuuid1,libcrypt1}:arm64)
    for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/root"; done
    # onnxruntime reads these when it is imported, and crashes on an x86 machine's.
    printf 'processor\t: 0\nFeatures\t: fp asimd crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n' \
        > "$work/root/proc/cpuinfo"
    for file in possible present online kernel_max; do echo 0 > "$work/root/sys/devices/system/cpu/$file"; done
    python3 -m pip download -q -d "$work/wheels" -c "$project/constraints.txt" --only-binary=:all: --python-version 3.11 \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
        numpy onnxruntime typer
    for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/site"; done
    touch "$work/ready"
fi

arm() { # MODULE ARGUMENT...: run a command of the checkout on ARM
    PYTHONPATH="$project/runtime:$work/site" qemu-aarch64-static -L "$work/root" "$work/root/usr/bin/python3.11" \
        -c "import sys; from importlib import import_module; import_module(sys.argv.pop(1)).main()" "$@"
}

models=() data=
while [ $# -gt 0 ]; do
    case $1 in
        --) data=${2:?DATA is missing}; break ;;
        *) models+=("$1"); shift ;;
    esac
done
[ ${#models[@]} -gt 0 ] || { echo "no model is given" >&2; exit 2; }
for model in "${models[@]}"; do
    echo "$model on $QEMU_CPU:"
    arm clf_runtime.commands.predict --self-test --model "$model"
    [ -z "$data" ] || arm clf_runtime.commands.eval "$model" "$data"
done
