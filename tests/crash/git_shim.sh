#!/bin/sh
# Stands in for git, for the git that git itself starts too, while CRASH_DIR/armed exists.  Numbers the runs of each
# subcommand ("reset.1"), and puts the wanted ones under strace.
[ -e "$CRASH_DIR/armed" ] || exec "$CRASH_GIT" "$@"

name=unknown skip=
for argument do
    if [ -n "$skip" ]; then skip=; continue; fi
    case $argument in
    -c | -C) skip=1 ;;
    -*) ;;
    *) name=$argument; break ;;
    esac
done
number=1
set -C # no redirection below overwrites: the first to make the file has the number
until { command : >"$CRASH_DIR/run.$name.$number"; } 2>/dev/null; do number=$((number + 1)); done
set +C
run=$name.$number

if [ "$CRASH_MODE" = record ]; then
    exec strace -qq -y -s 0 -o "$CRASH_DIR/trace.$run" -e "trace=$CRASH_CALLS" "$CRASH_GIT" "$@"
fi
[ "$run" = "$CRASH_TARGET" ] || exec "$CRASH_GIT" "$@"

strace -qq -y -s 0 -o "$CRASH_DIR/trace.$run" -e "trace=$CRASH_CALL" -e "inject=$CRASH_CALL:$CRASH_INJECT" \
    "$CRASH_GIT" "$@"
status=$?
[ $status = 137 ] || exit $status
echo "$run" >"$CRASH_DIR/struck"
if [ "$CRASH_MODE" = whole ]; then
    # The pipes of the killed git are still held here, so its parent and the server cannot have noticed yet.
    kill -9 "$(cat "$CRASH_DIR/server.pid")"
    kill -9 0
fi
kill -9 $$
