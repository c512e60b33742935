# The shim of one component: parent of its container, keeper of its state when no agent runs.
#   shim.sh FOLDER OOM_FILE CGROUPS LIMITS COMMAND...
# FOLDER/log has the pipes `out` and `err` (read by the copy's relay process); `<>` opens them without waiting for a reader
# and keeps them open while the relay is started anew. The command gets descriptor 3 (status) and 4 (its arguments).
# Written here: shim.pid (pid, start time, boot), exit (exit code, number of OOM kills).
set -u
folder=$1 oom_file=$2 cgroups=$3 limits=$4
shift 4
exec 1<>"$folder/log/out" 2<>"$folder/log/err" 3>"$folder/status"
read -r stat </proc/self/stat
read -r boot </proc/sys/kernel/random/boot_id
start_of() { shift 21; printf '%s' "$1"; }
# shellcheck disable=SC2086
printf '%s %s %s\n' "$$" "$(start_of $stat)" "$boot" >"$folder/shim.pid"
(
    # shellcheck disable=SC2086
    for cgroup in $cgroups; do echo 0 >"$cgroup/cgroup.procs" || exit 125; done
    for limit in $limits; do ulimit "-${limit%%=*}" "${limit#*=}" || exit 125; done
    exec "$@" 4<"$folder/args"
)
code=$?
kills=0
[ -z "$oom_file" ] || while read -r key value; do [ "$key" != oom_kill ] || kills=$value; done <"$oom_file"
printf '%s %s\n' "$code" "$kills" >"$folder/exit"
