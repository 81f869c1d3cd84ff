#!/bin/bash
# completions.sh FOLDER - what the shells offer for clusterctl and clusterd; FOLDER has bash, zsh and fish.
set -eu
folder=$1
status=0

# offers PROGRAM 'WORDS THAT ARE OFFERED' [WORD ...] - behind these words, of which the last one is begun.
offers()
{
    local program=$1 wanted=$2
    shift 2
    COMP_WORDS=("$program" "$@")
    COMP_CWORD=$#
    COMPREPLY=()
    "_$program"
    [ "${COMPREPLY[*]}" = "$wanted" ] && return
    echo "$program $*: offers '${COMPREPLY[*]}' and not '$wanted'"
    status=1
}

for program in clusterctl clusterd; do
    # shellcheck source=/dev/null
    . "$folder/bash/$program"
    [ "$(complete -p "$program")" = "complete -o default -F _$program $program" ] || { complete -p "$program"; status=1; }
done
offers clusterctl 'restart reload reset reopen' re
offers clusterctl 'why' -n web wh
offers clusterctl 'ready stopped' wait ''
offers clusterctl 'all' drain a
offers clusterctl 'SIGUSR1 SIGUSR2' signal SIGUSR
offers clusterctl 'always' --color al
offers clusterctl '--no-wait --now' --no
offers clusterctl '' scale ''
offers clusterctl '' -s /
offers clusterd '--check-config' --ch
offers clusterd 'round-robin round-robin?' -b rou
offers clusterd 'logfmt' --log-format l
offers clusterd '' -c / # none of ours: the shell offers files

if command -v zsh >/dev/null; then
    for file in "$folder"/zsh/*; do
        zsh -n "$file" || status=1
    done
fi
if command -v fish >/dev/null; then
    for file in "$folder"/fish/*; do
        fish --no-execute "$file" || status=1
    done
    for line in 'clusterctl whi:' 'clusterctl wh:why' 'clusterctl --tim:--timeout' 'clusterctl wait :ready stopped' 'clusterctl drain :all' \
        'clusterctl signal US:USR1 USR2' 'clusterctl scale :' 'clusterctl -s /us:/usr/' 'clusterd --conf:--config' 'clusterd -b rou:round-robin round-robin?'; do
        offered=$(fish --no-config -c "source '$folder/fish/${line%% *}.fish'; complete -C '${line%:*}'" | cut -f 1 | tr '\n' ' ')
        [ "${offered% }" = "${line#*:}" ] || { echo "fish, ${line%:*}: offers '$offered'"; status=1; }
    done
fi
exit $status
