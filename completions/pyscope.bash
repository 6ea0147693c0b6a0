# bash completion for pyscope: verbs, options, their values, and the PIDs of Python processes.
# Needs nothing of the package bash-completion.

# Prints a line for each Python process: its PID, a tab, its unit or container (may be empty), a tab, its command.
_pyscope_processes() {
  local program=$1 header='' line unit unit_at=-1 unit_end=0 command_at=0
  type -P -- "$program" >/dev/null || program=pyscope
  while IFS= read -r line; do
    if [[ -z $header ]]; then
      header=$line
      line=${header%%COMMAND*}
      command_at=${#line}
      if [[ $header == *' UNIT '* ]]; then
        line=${header%% UNIT *}
        unit_at=$((${#line} + 1))
        line=${header%%READABLE*}
        unit_end=${#line}
      fi
      continue
    fi
    [[ $line =~ ^\ *([0-9]+)\  ]] || break
    unit=
    ((unit_at < 0)) || { unit=${line:unit_at:unit_end-unit_at}; unit=${unit%%  *}; unit=${unit% }; }
    printf '%s\t%s\t%s\n' "${BASH_REMATCH[1]}" "$unit" "${line:command_at}"
  done < <("$program" ps --color never </dev/null 2>/dev/null)
}

_pyscope() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb='' word i
  local -a positionals=() pids=() names=()
  local verbs='dump why tasks inspect ps exec' secrets='--show-secrets --secret' options
  local common='--help --color --verbose --full'
  local values="--max-string --max-items --max-depth $secrets" which='--match --user --unit --container'
  COMPREPLY=()

  # bash takes "--color=al" for three words.
  if [[ $current == '=' ]]; then
    current=
  elif [[ $previous == '=' ]]; then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  fi

  local takes_value=' --match --user --unit --container --jobs --thread --frames --frame --max-string --max-items '
  takes_value+='--max-depth --secret --watch --timeout --color --duration --rate --task --code --expression -c -e --pid -p '
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ $word == '=' ]]; then
      ((++i))
    elif [[ $takes_value == *" $word "* ]]; then
      [[ ${COMP_WORDS[i + 1]} == '=' ]] || ((++i))
    elif [[ $word != -* ]]; then
      if [[ -z $verb ]]; then verb=$word; else positionals+=("$word"); fi
    fi
  done

  case $previous in
    --color) mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$current"); return ;;
    --pause) [[ ${COMP_WORDS[COMP_CWORD]} != '=' && ${COMP_WORDS[COMP_CWORD - 1]} != '=' ]] ||
      { mapfile -t COMPREPLY < <(compgen -W all -- "$current"); return; } ;;
    --native) [[ $verb != dump || (${COMP_WORDS[COMP_CWORD]} != '=' && ${COMP_WORDS[COMP_CWORD - 1]} != '=') ]] ||
      { mapfile -t COMPREPLY < <(compgen -W 'full all' -- "$current"); return; } ;;
    --user) mapfile -t COMPREPLY < <(compgen -u -- "$current"); return ;;
    --unit | --container)
      while IFS= read -r word; do
        word=${word#*$'\t'}
        word=${word%%$'\t'*}
        # A unit's name ends in its kind; a container's id has no dot.
        case $previous$word in
          --unit*.* | --container*[!.]*) [[ $previous$word == --container*.* ]] || names+=("$word") ;;
        esac
      done < <(_pyscope_processes "${COMP_WORDS[0]}")
      mapfile -t COMPREPLY < <(compgen -W "${names[*]}" -- "$current" | sort -u)
      return ;;
    --pid | -p) ;;
    *) [[ $takes_value != *" $previous "* ]] || return ;;
  esac

  case $verb in
    '') options='--help --version' ;;
    dump) options="$common --pid $which --all --children --jobs --json --thread --frames --no-source --locals --tasks $values
      --pause --native --group --no-group --watch --timeout" ;;
    why) options="$common --pid --thread --timeout --duration --rate --native --json $values" ;;
    tasks) options="$common --pid --task --flat --no-source --locals --pause --timeout --json $values" ;;
    inspect) options="$common --pid --one-line --json --thread --frame --list --watch --timeout --pause $values" ;;
    ps) options="$common --json $which $secrets" ;;
    exec) options='--help --verbose --pid --code --expression --thread --all-threads --timeout --json' ;;
    help)
      ((${#positionals[@]} > 0)) || mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$current")
      return ;;
    *) return ;;
  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    return
  fi
  if [[ -z $verb ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$current")
    return
  fi
  if [[ $verb == exec && ${#positionals[@]} == 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  if [[ $verb != ps && ($verb == dump || $previous == --pid || $previous == -p || ${#positionals[@]} == 0) ]]; then
    while IFS=$'\t' read -r word i; do
      [[ $word == "$current"* ]] || continue
      pids+=("$word")
      names+=("$word  ${i#*$'\t'}")
    done < <(_pyscope_processes "${COMP_WORDS[0]}")
    # The commands are for choosing: shown in the list, which bash asks for by 63 or 9, and never inserted, as
    # two PIDs differ before their commands begin.
    if [[ ${#pids[@]} -gt 1 && (${COMP_TYPE:-0} == 63 || ${COMP_TYPE:-0} == 9) ]]; then
      COMPREPLY=("${names[@]}")
    else
      COMPREPLY=("${pids[@]}")
    fi
  fi
}

complete -F _pyscope pyscope
