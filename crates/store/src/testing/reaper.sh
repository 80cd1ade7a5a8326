# Ends the tests' shared PostgreSQL once no test process has used it for some seconds, and removes its folder.
# $1 is the folder. Every test process holds a shared lock on $1/users while it lives; standard input holds the lock that
# says that a reaper is there.
exec 9<>"$1/users" || exit 1
idle=0
while :; do
    # It must not inherit the locks, or it would hold them for a reaper that was killed.
    sleep 3 </dev/null 9>&-
    if flock -n -x 9; then idle=$((idle + 1)); else idle=0; fi
    # Keep the lock from here on: a test process that comes now waits, and then starts a server of its own.
    if [ "$idle" -ge 4 ]; then break; fi
    flock -u 9
done
# Somebody may have removed the folder, and others made it anew.
[ "$1/users" -ef /proc/self/fd/9 ] || exit 0
pid=$(head -n 1 "$1/postgres/postmaster.pid" 2>/dev/null)
ours() { [ -n "$pid" ] && [ "/proc/$pid/cwd" -ef "$1/postgres" ]; }
ours "$1" && kill -QUIT "$pid"
tries=0
while ours "$1" && [ "$tries" -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
ours "$1" && kill -KILL "$pid"
rm -rf "$1"
