# fish completion for pyscope: verbs, options, their values, and the PIDs of Python processes.

# A line for each Python process: its PID, a tab, its command.
function __pyscope_pids
    set -l at
    for line in (pyscope ps --color never </dev/null 2>/dev/null)
        if test -z "$at"
            set -l before (string split -m 1 COMMAND -- $line)[1]
            set at (math (string length -- $before) + 1)
            continue
        end
        set -l pid (string match -r '^ *(\d+) ' -- $line)[2]; or break
        printf '%s\t%s\n' $pid (string sub -s $at -- $line)
    end
end

# The units (argument: unit) or containers of the Python processes.
function __pyscope_units
    set -l from
    set -l to
    for line in (pyscope ps --color never </dev/null 2>/dev/null)
        if test -z "$from"
            string match -q '* UNIT *' -- $line; or return
            set from (math (string length -- (string split -m 1 ' UNIT ' -- $line)[1]) + 2)
            set to (math (string length -- (string split -m 1 READABLE -- $line)[1]))
            continue
        end
        string match -q -r '^ *\d+ ' -- $line; or break
        set -l name (string trim -- (string sub -s $from -e $to -- $line))
        test -n "$name"; or continue
        if string match -q '*.*' -- $name
            test $argv[1] = unit; and echo $name
        else
            test $argv[1] = container; and echo $name
        end
    end | sort -u
end

# True if the verb was given, and no PID yet.
function __pyscope_wants_pid
    __fish_seen_subcommand_from $argv; or return 1
    for word in (commandline -opc)
        string match -q -r '^\d+$' -- $word; and return 1
    end
    return 0
end

complete -c pyscope -f
complete -c pyscope -n __fish_use_subcommand -a dump -d 'The Python stack of every thread'
complete -c pyscope -n __fish_use_subcommand -a why -d 'What each thread is doing, and why it is stuck'
complete -c pyscope -n __fish_use_subcommand -a tasks -d 'The tasks of asyncio'
complete -c pyscope -n __fish_use_subcommand -a inspect -d 'The values of variables'
complete -c pyscope -n __fish_use_subcommand -a ps -d 'The Python processes'
complete -c pyscope -n __fish_use_subcommand -a exec -d 'Run code in a process'
complete -c pyscope -n __fish_use_subcommand -s V -l version -d 'Print the version'
complete -c pyscope -s h -l help -d 'Print a summary of the options'

complete -c pyscope -n '__fish_seen_subcommand_from dump' -k -a '(__pyscope_pids)'
complete -c pyscope -n '__pyscope_wants_pid why tasks inspect exec' -k -a '(__pyscope_pids)'

complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect ps exec' -l json -d 'Print JSON'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect ps' -l show-secrets -d 'Print values that are named like passwords'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect ps' -l secret -x -d 'Mask values whose name has this in it'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect ps' -l color -x -a 'auto always never' -d 'When to use colour'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect ps exec' -s v -l verbose -d 'Tell what is tried'

complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect ps' -l full -d 'All of it'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect exec' -s p -l pid -x -a '(__pyscope_pids)' -d 'The same as the first argument'

complete -c pyscope -n '__fish_seen_subcommand_from dump ps' -l match -x -d 'Processes with this in their command line'
complete -c pyscope -n '__fish_seen_subcommand_from dump ps' -l user -x -a '(__fish_complete_users)' -d 'Processes of this user'
complete -c pyscope -n '__fish_seen_subcommand_from dump ps' -l unit -x -a '(__pyscope_units unit)' -d 'Processes of this systemd unit'
complete -c pyscope -n '__fish_seen_subcommand_from dump ps' -l container -x -a '(__pyscope_units container)' -d 'Processes in this container'

complete -c pyscope -n '__fish_seen_subcommand_from dump why inspect exec' -l thread -x -d 'Only this thread, by tid or name'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect' -l max-string -x -d 'Characters of a string'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect' -l max-items -x -d 'Items of a container'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect' -l max-depth -x -d 'Containers within containers'
complete -c pyscope -n '__fish_seen_subcommand_from dump why tasks inspect exec' -l timeout -x -d 'Stop reading after so many seconds'
complete -c pyscope -n '__fish_seen_subcommand_from dump inspect' -l watch -x -d 'Look again every so many seconds'

complete -c pyscope -n '__fish_seen_subcommand_from dump' -l all -d 'All Python processes of this machine'
complete -c pyscope -n '__fish_seen_subcommand_from dump' -l children -d 'And those that descend from the processes'
complete -c pyscope -n '__fish_seen_subcommand_from dump' -l jobs -x -d 'Read so many processes at a time'
complete -c pyscope -n '__fish_seen_subcommand_from dump' -l frames -x -d 'Only the innermost N frames'
complete -c pyscope -n '__fish_seen_subcommand_from dump tasks' -l no-source -d 'Leave out the source lines'
complete -c pyscope -n '__fish_seen_subcommand_from dump tasks' -l locals -d 'Print variables with their values'
complete -c pyscope -n '__fish_seen_subcommand_from dump' -l tasks -d 'And the tasks of asyncio'
complete -c pyscope -n '__fish_seen_subcommand_from dump tasks inspect' -l pause -d 'Hold threads for a moment, to read them exactly'
complete -c pyscope -n '__fish_seen_subcommand_from dump; and string match -q -- "--p*" (commandline -ct)' -a --pause=all -d 'Hold all threads for a moment'
complete -c pyscope -n '__fish_seen_subcommand_from dump' -l native -d 'Show the functions below the Python lines'
complete -c pyscope -n '__fish_seen_subcommand_from dump; and string match -q -- "--n*" (commandline -ct)' -a --native=full -d 'With the functions of the interpreter'
complete -c pyscope -n '__fish_seen_subcommand_from dump; and string match -q -- "--n*" (commandline -ct)' -a --native=all -d 'And threads that run no Python'
complete -c pyscope -n '__fish_seen_subcommand_from dump' -l group -d 'Print threads with the same stack once'
complete -c pyscope -n '__fish_seen_subcommand_from dump' -l no-group -d 'Print each thread on its own'

complete -c pyscope -n '__fish_seen_subcommand_from why' -l duration -x -a '500ms 1s 5s 30s' -d 'For how long to look'
complete -c pyscope -n '__fish_seen_subcommand_from why' -l native -d 'Name the functions of C that threads are in'
complete -c pyscope -n '__fish_seen_subcommand_from why' -l rate -x -d 'Samples a second'

complete -c pyscope -n '__fish_seen_subcommand_from tasks' -l task -x -d 'Only this task, by name or id'
complete -c pyscope -n '__fish_seen_subcommand_from tasks' -l flat -d 'A line for each task'

complete -c pyscope -n '__fish_seen_subcommand_from inspect' -l frame -x -d 'A frame, by number or function'
complete -c pyscope -n '__fish_seen_subcommand_from inspect' -l one-line -d 'Print each value on one line'
complete -c pyscope -n '__fish_seen_subcommand_from inspect' -l list -d 'Print what is there'

complete -c pyscope -n '__fish_seen_subcommand_from exec; and not __pyscope_wants_pid exec' -F
complete -c pyscope -n '__fish_seen_subcommand_from exec' -s c -l code -x -d 'Statements to run'
complete -c pyscope -n '__fish_seen_subcommand_from exec' -s e -l expression -x -d 'An expression, whose repr() is printed'
complete -c pyscope -n '__fish_seen_subcommand_from exec' -l all-threads -d 'In each thread, one after the other'
