# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_wharfinger_global_optspecs
    string join \n h/help V/version
end

function __fish_wharfinger_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_wharfinger_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_wharfinger_using_subcommand
    set -l cmd (__fish_wharfinger_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c wharfinger -n "__fish_wharfinger_needs_command" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "serve" -d 'Run the registry'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "gateway" -d 'Run a gateway: accounts, HTTPS and search in front of a registry that has none'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "ls" -d 'List the repositories, or the tags of one'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "inspect" -d 'Show an image: platforms, layers, labels, and its referrers such as signatures'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "search" -d 'Find repositories by words, or parts of words, of their names and descriptions'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "tag" -d 'Add a tag to an image of the registry, in the same repository or in another'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "rm" -d 'Remove a tag, an image with all of its tags, or a whole repository'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "du" -d 'Show the space used by repositories'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "history" -d 'Show each move and deletion of a tag: when, by whom, from and to which image'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "undo" -d 'Take back the last change of a tag, or all deletions of a retention run'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "retention" -d 'Delete old tags by the rules in the configuration ([[retention]])'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "gc" -d 'Reclaim the space of deleted images, or show what keeps it'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "erase" -d 'Erase an image or a layer at once, without a way back, such as one with a secret in it'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "check" -d 'Check that every image is complete, and repair what can be repaired'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "adopt" -d 'Read the data directory again, and adopt changes that another program made in it'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "backup" -d 'Back up the metadata, keys and configuration into one file, while the server runs or not'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "restore" -d 'Restore a backup into a data directory, and report missing and extra blobs'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "health" -d 'Say whether a server is ready, by the exit code and one line'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "reload" -d 'Have a running server read its configuration, htpasswd file and certificate again'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "user" -d 'Users: people who can log in'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "org" -d 'Organisations: users who share repositories, each with a role'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "team" -d 'Teams: members of an organisation who share grants'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "robot" -d 'Robots: accounts for programs, with the rights that are granted to them'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "token" -d 'Personal tokens: used instead of a password, with fewer rights or an expiry'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "grant" -d 'Grants: rights on repositories for users, robots, teams or everyone'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "audit" -d 'Read the audit log: actions of accounts, and denied attempts'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "cert" -d 'Certificates for HTTPS: make, show and check them'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "config" -d 'Show all settings, check the configuration in force, or import that of another registry'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "completions" -d 'Print a script with which a shell completes commands and flags'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "manual" -d 'Print the manual page, or write one for each command'
complete -c wharfinger -n "__fish_wharfinger_needs_command" -f -a "version" -d 'Print the version; with --json also the versions of the database schema and the source'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l listen -d 'The address and port to listen on; ":5000" is every IPv4 address [default: 127.0.0.1:5000]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l metrics-listen -d 'An address and port of its own for /metrics, such as 127.0.0.1:9464 [default: none]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l htpasswd -d 'A file of users in the format of htpasswd; each user is an account' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l tls-self-signed -d 'Serve HTTPS with a self-signed certificate for these host names and addresses, kept in the data directory; the commands that make clients trust it are printed' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l tls-certificate -d 'Serve HTTPS with the certificate in this PEM file; changes are read automatically' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l tls-key -d 'The PEM file with the key of that certificate [default: the same file]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l log-format -d 'The format of log lines: text or json [default: text]' -r -f -a "text\t'For people'
json\t'For machines: one JSON object per line'"
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l log-level -d 'The log level: error, warn, info, debug, trace, off, or a list such as "info,hyper=debug" [default: info]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l admin -d 'Create an administrator of this name, unless the account exists; the password comes from --admin-password-file or $WHARFINGER_ADMIN_PASSWORD [default: $WHARFINGER_ADMIN]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l admin-password-file -d 'The file with the password of that administrator' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l open -d 'Listen beyond this machine even without accounts: everyone who reaches the port has all rights'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -l accept-older-database -d 'Use a database that lacks its last commits, such as one from a backup: the missing changes are lost'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand serve" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l upstream -d 'The upstream registry, such as http://registry:5000; may be repeated for replicas of one registry: requests go to the first, and to the others if it does not respond' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l listen -d 'The address and port to listen on; ":5000" is every IPv4 address [default: 127.0.0.1:5000]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l metrics-listen -d 'An address and port of its own for /metrics, such as 127.0.0.1:9464 [default: none]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l htpasswd -d 'A file of users in the format of htpasswd; each user is an account' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l tls-self-signed -d 'Serve HTTPS with a self-signed certificate for these host names and addresses, kept in the data directory; the commands that make clients trust it are printed' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l tls-certificate -d 'Serve HTTPS with the certificate in this PEM file; changes are read automatically' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l tls-key -d 'The PEM file with the key of that certificate [default: the same file]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l log-format -d 'The format of log lines: text or json [default: text]' -r -f -a "text\t'For people'
json\t'For machines: one JSON object per line'"
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l log-level -d 'The log level: error, warn, info, debug, trace, off, or a list such as "info,hyper=debug" [default: info]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l admin -d 'Create an administrator of this name, unless the account exists; the password comes from --admin-password-file or $WHARFINGER_ADMIN_PASSWORD [default: $WHARFINGER_ADMIN]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l admin-password-file -d 'The file with the password of that administrator' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l open -d 'Listen beyond this machine even without accounts: everyone who reaches the port has all rights'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -l accept-older-database -d 'Use a database that lacks its last commits, such as one from a backup: the missing changes are lost'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gateway" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -l all -d 'Also list the fallback tags of older clients for signatures and other referrers (sha256-…)'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand ls" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -l raw -d 'Print the manifest, byte by byte'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand inspect" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -s n -l limit -d 'The largest number of results' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand search" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand tag" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -l all -d 'Remove the whole repository if neither tag nor digest is named'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -s y -l yes -d 'Do not ask before a repository is removed'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand rm" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand du" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand history" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l to -d 'The state that the tag gets: that of a time (2h, yesterday, 2026-11-20T14:30:00Z), or a digest' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l run -d 'The retention run to take back; `wharfinger history` and the audit log name it' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand undo" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and not __fish_seen_subcommand_from preview run" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and not __fish_seen_subcommand_from preview run" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and not __fish_seen_subcommand_from preview run" -f -a "preview" -d 'Show which tags a run would delete, and by which rule'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and not __fish_seen_subcommand_from preview run" -f -a "run" -d 'Delete the tags that no rule keeps'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -l repository -d 'Only this repository' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from preview" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -l repository -d 'Only this repository' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand retention; and __fish_seen_subcommand_from run" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l explain -d 'Show what keeps some content, or when it goes: DIGEST, REPOSITORY@DIGEST or REPOSITORY:TAG' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l now -d 'Collect now, wait for the end, and show what was freed'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l dry-run -d 'Show what a collection would remove now, and why; change nothing'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand gc" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -l everywhere -d 'Also erase it from all other repositories'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand erase" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l read -d 'Read every blob and compare it with its digest, instead of checking its size only'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l repair -d 'Repair what can be repaired, and move damaged content aside'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand check" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand adopt" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -l with-blobs -d 'Copy the blobs as well, into the directory: only those that it lacks, by hard links if possible'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand backup" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand restore" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand restore" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand restore" -l replace -d 'Replace the metadata of the directory; it is kept in wharfinger/replaced-TIME'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand restore" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand restore" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand restore" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand health" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand reload" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and not __fish_seen_subcommand_from add list show change password remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and not __fish_seen_subcommand_from add list show change password remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and not __fish_seen_subcommand_from add list show change password remove" -f -a "add" -d 'Create a user'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and not __fish_seen_subcommand_from add list show change password remove" -f -a "list" -d 'List the users'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and not __fish_seen_subcommand_from add list show change password remove" -f -a "show" -d 'Show a user, or your own account'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and not __fish_seen_subcommand_from add list show change password remove" -f -a "change" -d 'Change a user; settings that are not named stay as they are'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and not __fish_seen_subcommand_from add list show change password remove" -f -a "password" -d 'Change the password of a user'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and not __fish_seen_subcommand_from add list show change password remove" -f -a "remove" -d 'Remove a user, with their tokens, robots, memberships and grants'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l description -d 'A description for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l admin -d 'Make the user an administrator, who has all rights'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l description -d 'A description for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l admin -d 'Make the user an administrator'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l no-admin -d 'Make the user an ordinary user'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l disable -d 'Disable the account'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l enable -d 'Enable the account again'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from change" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from password" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -l force -d 'Remove the user even if there are repositories below the name'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand user; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and not __fish_seen_subcommand_from add list show change remove member" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and not __fish_seen_subcommand_from add list show change remove member" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and not __fish_seen_subcommand_from add list show change remove member" -f -a "add" -d 'Create an organisation'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and not __fish_seen_subcommand_from add list show change remove member" -f -a "list" -d 'List the organisations'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and not __fish_seen_subcommand_from add list show change remove member" -f -a "show" -d 'Show an organisation'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and not __fish_seen_subcommand_from add list show change remove member" -f -a "change" -d 'Change the description of an organisation'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and not __fish_seen_subcommand_from add list show change remove member" -f -a "remove" -d 'Remove an organisation, with its teams and robots'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and not __fish_seen_subcommand_from add list show change remove member" -f -a "member" -d 'Manage the members of an organisation'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l owner -d 'The first owner [default: your own account, with --server]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l description -d 'A description for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -l description -d 'A description for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from change" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -l force -d 'Remove it even if there are repositories below its name'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from member" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from member" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from member" -f -a "set" -d 'Add a user as a member, or change the role of a member'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from member" -f -a "remove" -d 'Remove a member from the organisation and its teams'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand org; and __fish_seen_subcommand_from member" -f -a "list" -d 'List the members'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and not __fish_seen_subcommand_from add list remove member" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and not __fish_seen_subcommand_from add list remove member" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and not __fish_seen_subcommand_from add list remove member" -f -a "add" -d 'Create a team'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and not __fish_seen_subcommand_from add list remove member" -f -a "list" -d 'List the teams of an organisation'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and not __fish_seen_subcommand_from add list remove member" -f -a "remove" -d 'Remove a team and its grants'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and not __fish_seen_subcommand_from add list remove member" -f -a "member" -d 'Manage the members of a team'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from member" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from member" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from member" -f -a "add" -d 'Add a member of the organisation to the team'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from member" -f -a "remove" -d 'Remove a user from the team'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand team; and __fish_seen_subcommand_from member" -f -a "list" -d 'List the members of the team'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and not __fish_seen_subcommand_from add list show change secret remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and not __fish_seen_subcommand_from add list show change secret remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and not __fish_seen_subcommand_from add list show change secret remove" -f -a "add" -d 'Create a robot and print its secret'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and not __fish_seen_subcommand_from add list show change secret remove" -f -a "list" -d 'List the robots'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and not __fish_seen_subcommand_from add list show change secret remove" -f -a "show" -d 'Show a robot'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and not __fish_seen_subcommand_from add list show change secret remove" -f -a "change" -d 'Change a robot; settings that are not named stay as they are'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and not __fish_seen_subcommand_from add list show change secret remove" -f -a "secret" -d 'Replace the secret of a robot and print the new one; the old one stops working'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and not __fish_seen_subcommand_from add list show change secret remove" -f -a "remove" -d 'Remove a robot and its grants'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -l description -d 'A description for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l description -d 'A description for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l disable -d 'Disable the account'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l enable -d 'Enable the account again'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from change" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from secret" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand robot; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and not __fish_seen_subcommand_from create add list change remove revoke" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and not __fish_seen_subcommand_from create add list change remove revoke" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and not __fish_seen_subcommand_from create add list change remove revoke" -f -a "create" -d 'Create a token and print it'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and not __fish_seen_subcommand_from create add list change remove revoke" -f -a "add" -d 'Create a token and print it'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and not __fish_seen_subcommand_from create add list change remove revoke" -f -a "list" -d 'List the tokens of a user'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and not __fish_seen_subcommand_from create add list change remove revoke" -f -a "change" -d 'Change a token; its secret and settings that are not named stay as they are'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and not __fish_seen_subcommand_from create add list change remove revoke" -f -a "remove" -d 'Revoke a token; it stops working at once'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and not __fish_seen_subcommand_from create add list change remove revoke" -f -a "revoke" -d 'Revoke a token; it stops working at once'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l account -d 'The user [default: your own account, with --server]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l label -d 'A label for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l expires -d 'How long it is valid: 12h, 30d, 1y [default: until it is revoked]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l rights -d 'Its rights: pull, push, delete, administer; separated by commas [default: the rights of the user]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l repository -d 'The repositories it is limited to: a name or a pattern such as \'ann/*\'; may be repeated [default: all]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from create" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l account -d 'The user [default: your own account, with --server]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l label -d 'A label for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l expires -d 'How long it is valid: 12h, 30d, 1y [default: until it is revoked]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l rights -d 'Its rights: pull, push, delete, administer; separated by commas [default: the rights of the user]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l repository -d 'The repositories it is limited to: a name or a pattern such as \'ann/*\'; may be repeated [default: all]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -l account -d 'The user [default: your own account, with --server]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l account -d 'The user [default: your own account, with --server]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l label -d 'A label for people' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l expires -d 'How long it is valid from now on: 12h, 30d, 1y, or never' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l rights -d 'Its rights: pull, push, delete, administer; separated by commas; or all, for the rights of the user' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l repository -d 'The repositories it is limited to: a name or a pattern such as \'ann/*\'; may be repeated' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from change" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l account -d 'The user [default: your own account, with --server]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l all -d 'Revoke all tokens of the user'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l account -d 'The user [default: your own account, with --server]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l all -d 'Revoke all tokens of the user'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand token; and __fish_seen_subcommand_from revoke" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and not __fish_seen_subcommand_from add change list remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and not __fish_seen_subcommand_from add change list remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and not __fish_seen_subcommand_from add change list remove" -f -a "add" -d 'Grant rights; they replace an earlier grant to the same subject on the same repositories'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and not __fish_seen_subcommand_from add change list remove" -f -a "change" -d 'Grant rights; they replace an earlier grant to the same subject on the same repositories'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and not __fish_seen_subcommand_from add change list remove" -f -a "list" -d 'List grants'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and not __fish_seen_subcommand_from add change list remove" -f -a "remove" -d 'Remove a grant'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from change" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l subject -d 'Only grants to this user, robot, team, accounts or everyone' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l repository -d 'Only grants that include this repository, by name or by pattern' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand grant; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l since -d 'Only entries since this time: 30m, 7d, today, yesterday, 2026-11-20, 2026-11-20T14:30:00Z' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l account -d 'Only actions of this account' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l repository -d 'Only actions on this repository, or on those below it' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l action -d 'Only this action, such as manifest.push, or this kind of action, such as user' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -s n -l limit -d 'Show at most this number of entries, the latest [default: 100; with --since, all]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l server -d 'Use the registry of a server, such as http://localhost:5000, instead of a data directory' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l user -d 'Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l ca -d 'Trust the certificates in this PEM file in addition to those of the system' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l denied -d 'Only denied attempts'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -s f -l follow -d 'Print new entries as they are written, until Ctrl-C'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l password-stdin -d 'Read passwords from standard input, one per line, instead of asking for them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand audit" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and not __fish_seen_subcommand_from make show check" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and not __fish_seen_subcommand_from make show check" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and not __fish_seen_subcommand_from make show check" -f -a "make" -d 'Create a self-signed certificate with its key'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and not __fish_seen_subcommand_from make show check" -f -a "show" -d 'Show a certificate, and how to make clients trust it'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and not __fish_seen_subcommand_from make show check" -f -a "check" -d 'Check that a certificate and its key match, and that clients will accept them'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from make" -l out -d 'The directory for server.pem and server.key' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from make" -l days -d 'The number of days for which it is valid' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from make" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from make" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from make" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from show" -l port -d 'The port of the registry, for the commands that make clients trust it' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from show" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from show" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from show" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from check" -l key -d 'The file with the key [default: the same file]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from check" -l host -d 'A host name or address that it must include; may be repeated' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from check" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from check" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from check" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand cert; and __fish_seen_subcommand_from check" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and not __fish_seen_subcommand_from example check import" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and not __fish_seen_subcommand_from example check import" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and not __fish_seen_subcommand_from example check import" -f -a "example" -d 'Print a configuration file with every setting, its description, and its default commented out'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and not __fish_seen_subcommand_from example check import" -f -a "check" -d 'List all errors of the configuration, or else the settings in force with the origin of each value'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and not __fish_seen_subcommand_from example check import" -f -a "import" -d 'Print the configuration of a registry:2 or registry:3, or of nginx before it, as a wharfinger.toml'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from example" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from example" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or /etc/wharfinger/wharfinger.toml, whichever is there first]' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l data -d 'The data directory [default: data]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l listen -d 'The address and port to listen on; ":5000" is every IPv4 address [default: 127.0.0.1:5000]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l metrics-listen -d 'An address and port of its own for /metrics, such as 127.0.0.1:9464 [default: none]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l htpasswd -d 'A file of users in the format of htpasswd; each user is an account' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l tls-self-signed -d 'Serve HTTPS with a self-signed certificate for these host names and addresses, kept in the data directory; the commands that make clients trust it are printed' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l tls-certificate -d 'Serve HTTPS with the certificate in this PEM file; changes are read automatically' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l tls-key -d 'The PEM file with the key of that certificate [default: the same file]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l log-format -d 'The format of log lines: text or json [default: text]' -r -f -a "text\t'For people'
json\t'For machines: one JSON object per line'"
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l log-level -d 'The log level: error, warn, info, debug, trace, off, or a list such as "info,hyper=debug" [default: info]' -r
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l open -d 'Listen beyond this machine even without accounts: everyone who reaches the port has all rights'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from check" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from import" -l env-file -d 'A file of lines NAME=VALUE, as for `docker run --env-file`, with variables REGISTRY_…' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from import" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand config; and __fish_seen_subcommand_from import" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand completions" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand completions" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand manual" -l output -d 'Write a page for each command into this directory' -r -F
complete -c wharfinger -n "__fish_wharfinger_using_subcommand manual" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand manual" -s V -l version -d 'Print version'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand version" -l json -d 'Print JSON, for machines'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand version" -s h -l help -d 'Print help'
complete -c wharfinger -n "__fish_wharfinger_using_subcommand version" -s V -l version -d 'Print version'
