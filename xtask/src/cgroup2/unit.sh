#!/bin/sh
# The first process of a guest with systemd: lays a file system in memory above the host's root, puts the unit of
# docs/operating.md there, and becomes systemd, which runs this again to look after the unit.
#
# From the kernel's command line: HOMEOSTAT is the program, SHARED the folder with the unit.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_COLORS=0 SYSTEMD_URLIFY=0

# A guest with the files of the host that starts no services of the host and does not write to its files.
become_systemd() {
    mount -t proc proc /proc
    mount -t tmpfs tmpfs /run
    insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
    mkdir /run/changed /run/work /run/root
    mount -t overlay overlay -o lowerdir=/,upperdir=/run/changed,workdir=/run/work /run/root || exit
    cd /run/root || exit
    rm -rf etc/systemd/system etc/fstab etc/homeostat
    mkdir -p etc/systemd/system etc/homeostat usr/local/bin var/lib/homeostat
    for unit in systemd-udevd systemd-udev-trigger systemd-journald systemd-logind systemd-random-seed systemd-tmpfiles-setup \
        systemd-tmpfiles-setup-dev systemd-sysusers systemd-modules-load systemd-sysctl systemd-remount-fs systemd-binfmt; do
        ln -s /dev/null etc/systemd/system/$unit.service
    done
    ln -sf "$HOMEOSTAT" usr/local/bin/homeostat
    cp "$SHARED/homeostat.service" etc/systemd/system
    cat > etc/homeostat/shop.yaml <<MANIFEST
apiVersion: homeostat/v1
kind: Service
metadata: {name: shop}
spec:
  run: {command: [sleep, "1000"]}
  resources: {cpu: 250m, memory: 64Mi}
  scale: {replicas: 2}
MANIFEST
    cat > etc/systemd/system/check.service <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
ExecStart=/bin/sh $SHARED/unit.sh check
ExecStopPost=poweroff -f -f
UNIT
    umount /proc
    mkdir old && pivot_root . old
    exec /lib/systemd/systemd --unit=check.service --show-status=no --log-target=null
}

failures=0

# Checks that the command after the sentence succeeds within 20 s.
holds() {
    sentence=$1
    shift
    for _ in $(seq 100); do
        if "$@" > /tmp/output 2>&1; then
            echo "cgroup2: $sentence"
            return
        fi
        sleep 0.2
    done
    echo "cgroup2: FAILED: $sentence; $(cat /tmp/output)"
    systemctl status --no-pager --full homeostat
    failures=$((failures + 1))
}

main() { systemctl show --property MainPID --value homeostat; }
serves_again() { systemctl is-active --quiet homeostat && [ "$(main)" != 0 ] && [ "$(main)" != "$1" ]; }
replicas() { homeostat get replicas -o json | grep '"pid"' | sort; }
are_those() { replicas; [ "$(replicas)" = "$1" ]; }
two_run() { replicas; [ "$(replicas | wc -l)" = 2 ]; }
limits() { cat /sys/fs/cgroup/homeostat/*/shop-*/memory.max /sys/fs/cgroup/homeostat/*/shop-*/cpu.weight | tr '\n' ' '; }
are_limited() { limits; [ "$(limits)" = '67108864 67108864 25 25 ' ]; }
none_is_left() { ! ls -d /sys/fs/cgroup/homeostat/*/; }

check() {
    echo "cgroup2: $(systemctl --version | head -n 1)"
    holds "the unit starts" systemctl start homeostat
    holds "its replicas run" two_run
    holds "they are held to their limits" are_limited
    before=$(replicas)
    for time in first second; do
        last=$(main)
        systemctl reload homeostat
        holds "the next one serves after the $time reload" serves_again "$last"
    done
    last=$(main)
    kill -9 "$last"
    holds "it is started again after a crash" serves_again "$last"
    holds "and has the replicas that outlived it" are_those "$before"
    holds "the unit stops" systemctl stop homeostat
    holds "and leaves nothing" none_is_left
    [ $failures -eq 0 ] && echo "cgroup2: passed"
}

if [ "$1" = check ]; then check; else become_systemd; fi
