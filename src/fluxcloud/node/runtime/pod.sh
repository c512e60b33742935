# The keeper of one copy: holds its namespaces open and its relay running, with or without an agent.
#   pod.sh FOLDER HOLDER_PREFIX USER_PREFIX ENTER_PREFIX NESTED RELAY...   (prefixes: words, %s is the holder's pid)
# NESTED is how many user namespaces may be made inside: none, unless bubblewrap itself needs some.
# Standard output tells the agent of progress (`held` and `recorded`, then `up`); standard input must say `go` in between, after
# the ids were mapped. End of input instead means that the agent died half-way: then everything here ends too.
# Written here: shim.pid and holder.pid (pid, start time, boot).
set -u
exec 7>&1 1>/dev/null
folder=$1 holder_prefix=$2 user_prefix=$3 enter_prefix=$4 nested=$5
shift 5
read -r boot </proc/sys/kernel/random/boot_id
start_of() { shift 21; printf '%s' "$1"; }
record() {
    read -r stat <"/proc/$2/stat"
    # shellcheck disable=SC2086
    printf '%s %s %s\n' "$2" "$(start_of $stat)" "$boot" >"$folder/$1.pid"
}
record shim "$$"
# shellcheck disable=SC2086
$holder_prefix sh -c 'echo held >&7; exec 7>&-; exec sleep infinity' </dev/null &
holder=$!
record holder "$holder"
echo recorded >&7
read -r word || word=
[ "$word" = go ] || { kill -9 "$holder"; exit 1; }
name_holder() {
    for word in $1; do
        case $word in *%s*) word="${word%%%s*}$holder${word#*%s}" ;; esac
        printf '%s ' "$word"
    done
}
enter=$(name_holder "$enter_prefix")
# shellcheck disable=SC2046
[ -z "$user_prefix" ] || $(name_holder "$user_prefix") sh -c 'echo "$1" >/proc/sys/user/max_user_namespaces' sh "$nested"
while kill -0 "$holder" 2>/dev/null; do
    # shellcheck disable=SC2086
    $enter "$@" </dev/null 2>"$folder/err"
    sleep 0.2
done
