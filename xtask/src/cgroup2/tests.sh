#!/bin/sh
# The first process of the guest: mounts what a machine has, and runs the tests of the process platform in groups of version 2.
#
# The host's root is the guest's. Nothing is written to it: temporary files are in the guest's memory.
# From the kernel's command line: TESTS is the test program; without one it only says what the kernel can do.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /dev/shm && mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
top=/sys/fs/cgroup
failures=0

# Switches the guest off. Where there is no program for it, the end of the first process does it, less politely.
off() {
    poweroff -f
    exit
}

if ! echo '+cpu +memory +pids' > $top/cgroup.subtree_control; then
    echo "cgroup2: this kernel has '$(cat $top/cgroup.controllers)' alone"
    off
fi
echo "cgroup2: Linux $(uname -r) with $(cat $top/cgroup.controllers)"
[ -n "$TESTS" ] || off

# The test program again, where everybody may run it.
cp "$TESTS" /tmp/tests

# Checks that a file of a group contains exactly this text.
holds() {
    if [ "$(cat "$2")" = "$3" ]; then
        echo "cgroup2: $1"
    else
        echo "cgroup2: FAILED: $1; $2 holds '$(cat "$2")'"
        failures=$((failures + 1))
    fi
}

# Runs the tests named in $3 as user $1, as a process of group $2.
tests_as() {
    (
        echo 0 > "$2/cgroup.procs"
        cd /tmp && exec setpriv --reuid "$1" --regid "$1" --clear-groups env RUST_BACKTRACE=0 /tmp/tests --color never --test-threads 2 $3
    ) || {
        echo "cgroup2: FAILED: tests as user $1 in $2"
        failures=$((failures + 1))
    }
}

# Makes group $1 and gives it to user $2, as systemd does with Delegate=.
delegate() {
    mkdir "$1"
    chown "$2" "$1" "$1/cgroup.procs" "$1/cgroup.subtree_control" "$1/cgroup.threads"
}

some=65534

echo "cgroup2: root in a group of its own, as in a unit of systemd"
mkdir $top/unit
tests_as 0 $top/unit 'contract::processes_in isolation:: ran_out_of_memory'
holds "replicas of root are below the top" $top/homeostat/cgroup.subtree_control 'cpu memory pids'
holds "and the group of the unit can take a process again" $top/unit/cgroup.subtree_control ''

echo "cgroup2: a user to whom a group was delegated"
delegate $top/delegated $some
tests_as $some $top/delegated 'contract::processes_in isolation::'
holds "replicas of a user are held to their limits" $top/delegated/homeostat/cgroup.subtree_control 'cpu memory pids'

echo "cgroup2: a user in a group with a shell"
delegate $top/shared $some
sleep 1000 &
shell=$!
echo $shell > $top/shared/cgroup.procs
tests_as $some $top/shared 'contract::processes_in isolation::'
holds "the group is left as it was" $top/shared/cgroup.type domain
kill $shell

[ $failures -eq 0 ] && echo "cgroup2: passed"
off
