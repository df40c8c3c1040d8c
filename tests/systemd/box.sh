#!/bin/bash
# Boots a systemd as process 1 of namespaces of its own, over a copy of the file system that is written to memory.
# Called by box.py as `box.sh watch FOLDER`, which calls itself as `box.sh boot FOLDER` inside the namespaces.
#
# FOLDER/binds has lines "SOURCE TARGET" (a folder or file of this machine that is to be seen inside, read-only), and
# FOLDER/hidden has folders that are to be empty inside.
set -euo pipefail
stage=$1 folder=$2
root=$folder/root groups=$folder/groups

watch() { # in a mount namespace of its own, so that nothing is left behind
    mount -n -t tmpfs -o mode=0755 box "$folder/space"
    mkdir "$folder/space/"{upper,work} "$root" "$groups"
    # A version 2 hierarchy can be mounted anywhere, whatever this machine has at /sys/fs/cgroup. systemd moves all
    # processes of the group that it begins in: it needs one of its own.
    mount -n -t cgroup2 cgroup2 "$groups"
    local group=$groups/box-$$
    mkdir "$group"
    trap "clean '$group'" EXIT
    mkfifo "$folder/ready"
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec setpriv --pdeathsig KILL unshare --mount --cgroup --uts --ipc --pid --fork --kill-child \
            "$0" boot "$folder" <&- >"$folder/boot.log" 2>&1
    ) &
    local first
    if ! read -r first <"$folder/ready"; then
        cat "$folder/boot.log" >&2
        exit 1
    fi
    init=$first
    echo "$first"
    exec >&- # whoever called us reads this one line
    cat >/dev/null || true # until the caller closes our input, or has died
}

clean() { # unshare holds back SIGTERM; with its process 1, a namespace loses all processes
    trap '' INT TERM HUP
    [ -z "${init-}" ] || kill -KILL "$init" || true
    wait || true
    local tries=100
    while [ -d "$1" ] && [ $((tries -= 1)) -gt 0 ]; do
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.02
    done
}

boot() {
    exec 8>"$folder/ready" # whoever waits there learns at once if we fail
    local self
    read -r self _ </proc/self/stat # /proc is still that of the machine, which numbers us in its own way
    [ $$ = 1 ] && [ "$self" != 1 ] || { echo "this is not a new namespace of processes"; exit 1; }
    mount -n -t overlay box -o "lowerdir=/,upperdir=$folder/space/upper,workdir=$folder/space/work" "$root"
    mount_kernel
    quieten
    while read -r place; do [ -z "$place" ] || [ ! -d "$root$place" ] || mount_memory "$place" 0755; done <"$folder/hidden"
    while read -r source target; do [ -z "$source" ] || show "$source" "$root$target"; done <"$folder/binds"
    cd "$root"
    mkdir -p .before
    pivot_root . .before
    umount -n -l .before
    rmdir .before
    mount -n --make-rshared / # else LoadCredential= leaves an empty folder, and says nothing
    echo "$self" >&8
    exec 8>&-
    exec env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        /lib/systemd/systemd --system --unit=multi-user.target
}

mount_memory() { mount -n -t tmpfs -o "mode=$2,nosuid,nodev" memory "$root$1"; }

mount_kernel() { # what is the machine's own can be read, and not changed
    mount -n -t proc -o nosuid,nodev,noexec proc "$root/proc"
    mount -n --bind "$root/proc/sys" "$root/proc/sys"
    mount -n -o remount,bind,ro "$root/proc/sys"
    mount -n -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    mount -n -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
    mount -n -t tmpfs -o mode=0755,nosuid devices "$root/dev"
    mkdir "$root/dev/"{pts,shm}
    local name
    for name in full null random tty urandom zero; do cp -a "/dev/$name" "$root/dev/$name"; done
    ln -s /proc/self/fd "$root/dev/fd"
    for name in stdin:0 stdout:1 stderr:2; do ln -s "fd/${name#*:}" "$root/dev/${name%:*}"; done
    mount -n -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    mount_memory /dev/shm 1777
    mount_memory /run 0755
    mount_memory /tmp 1777
}

quieten() { # no service of this machine's begins inside, and none that would change its kernel's settings
    local units=$root/etc/systemd/system unit
    rm -rf "$units"/*.wants "$units"/*.requires
    for unit in console-getty.service dev-hugepages.mount getty.target proc-sys-fs-binfmt_misc.automount \
        sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
        systemd-binfmt.service systemd-hwdb-update.service systemd-journald-audit.socket systemd-modules-load.service \
        systemd-random-seed.service systemd-remount-fs.service systemd-sysctl.service systemd-tmpfiles-clean.timer \
        systemd-udev-trigger.service systemd-udevd.service tmp.mount; do
        ln -sfn /dev/null "$units/$unit"
    done
    mkdir -p "$root/etc/systemd/journald.conf.d"
    printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nAudit=no\n' >"$root/etc/systemd/journald.conf.d/box.conf"
}

show() {
    if [ -d "$1" ]; then
        mkdir -p "$2"
    else
        mkdir -p "${2%/*}"
        [ -e "$2" ] || : >"$2"
    fi
    mount -n --bind "$1" "$2"
    mount -n -o remount,bind,ro "$2"
}

"$stage"
