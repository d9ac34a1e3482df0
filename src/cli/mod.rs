//! The command line: a file for each subcommand. To add one, write its file with a struct of its arguments
//! that derives [`clap::Args`] and has `run`, and give it a line in `Command` and one in `Command::run`.

pub mod output;
pub mod settings;

mod administrator;
mod adopt;
mod audit;
mod backup;
mod cert;
mod check;
mod completions;
mod config;
mod confirmation;
mod connection;
mod du;
mod erase;
mod events;
mod gateway;
mod gc;
mod grant;
mod health;
mod history;
mod image;
mod import;
mod inspect;
mod json_lines;
mod ls;
mod manage;
mod manual;
mod mirror;
mod org;
mod owner;
mod password;
mod progress;
mod reload;
mod relocate;
mod restore;
mod retention;
mod rm;
mod robot;
mod search;
mod serve;
mod start;
mod suggestions;
mod tag;
mod target;
mod team;
mod times;
mod token;
mod undo;
mod unreachable;
mod upstream;
mod user;
mod version;
mod webhook;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use output::Failure;

use crate::{allocator, name_service, output_queue};

/// The time that background tasks may delay the end of the process.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// A private container registry: push, pull, search and keep images, from one binary.
#[derive(Debug, Parser)]
#[command(name = "wharfinger", version, propagate_version = true)]
#[command(arg_required_else_help = true, subcommand_required = true, disable_help_subcommand = true)]
#[command(max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  wharfinger serve
      a registry on 127.0.0.1:5000 that keeps its data in ./data
  docker push localhost:5000/team/app:1.0
      push an image to it
  wharfinger user add admin --admin
      the first account: then everything is private unless granted
  wharfinger config example > wharfinger.toml
      a file with every setting, for editing
  wharfinger config check
      find errors in it, and show the settings in force

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Gateway(gateway::Gateway),
    #[command(name = "ls")]
    List(ls::List),
    Inspect(inspect::Inspect),
    Search(search::Search),
    #[command(name = "tag")]
    TagImage(tag::TagImage),
    #[command(name = "rm")]
    Remove(rm::Remove),
    #[command(name = "du")]
    DiskUsage(du::DiskUsage),
    #[command(name = "history")]
    TagHistory(history::TagHistory),
    #[command(name = "undo")]
    UndoChange(undo::UndoChange),
    #[command(name = "retention")]
    RetentionCommand(retention::RetentionCommand),
    Gc(gc::Gc),
    Erase(erase::Erase),
    Check(check::Check),
    Adopt(adopt::Adopt),
    Backup(backup::Backup),
    Restore(restore::Restore),
    #[command(name = "move")]
    Relocate(relocate::Relocate),
    Health(health::Health),
    Reload(reload::Reload),
    User(user::UserCommand),
    Org(org::OrganisationCommand),
    Team(team::TeamCommand),
    Robot(robot::RobotCommand),
    Token(token::TokenCommand),
    Grant(grant::GrantCommand),
    Audit(audit::AuditCommand),
    Upstream(upstream::UpstreamCommand),
    Mirror(mirror::MirrorCommand),
    Events(events::EventsCommand),
    Webhook(webhook::WebhookCommand),
    Cert(cert::Cert),
    Config(config::Config),
    Completions(completions::Completions),
    Manual(manual::Manual),
    Version(version::Version),
}

impl Command {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Serve(command) => command.run().await,
            Self::Gateway(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Inspect(command) => command.run().await,
            Self::Search(command) => command.run().await,
            Self::TagImage(command) => command.run().await,
            Self::Remove(command) => command.run().await,
            Self::DiskUsage(command) => command.run().await,
            Self::TagHistory(command) => command.run().await,
            Self::UndoChange(command) => command.run().await,
            Self::RetentionCommand(command) => command.run().await,
            Self::Gc(command) => command.run().await,
            Self::Erase(command) => command.run().await,
            Self::Check(command) => command.run().await,
            Self::Adopt(command) => command.run().await,
            Self::Backup(command) => command.run().await,
            Self::Restore(command) => command.run().await,
            Self::Relocate(command) => command.run().await,
            Self::Health(command) => command.run().await,
            Self::Reload(command) => command.run().await,
            Self::User(command) => command.run().await,
            Self::Org(command) => command.run().await,
            Self::Team(command) => command.run().await,
            Self::Robot(command) => command.run().await,
            Self::Token(command) => command.run().await,
            Self::Grant(command) => command.run().await,
            Self::Audit(command) => command.run().await,
            Self::Upstream(command) => command.run().await,
            Self::Mirror(command) => command.run(),
            Self::Events(command) => command.run().await,
            Self::Webhook(command) => command.run().await,
            Self::Cert(command) => command.run().await,
            Self::Config(command) => command.run(),
            Self::Completions(command) => command.run(),
            Self::Manual(command) => command.run(),
            Self::Version(command) => command.run(),
        }
    }
}

/// The program: runs the command in its arguments, and returns the exit code.
pub fn main() -> ExitCode {
    allocator::set_up();
    name_service::set_up();
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let words: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        suggestions::hint(error, &words).exit()
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::new("cannot start the threads that do the work").because(&error).report();
        }
    };
    let ended = runtime.block_on(cli.command.run());
    // The command has completed; a blocked system call must not delay the exit.
    runtime.shutdown_timeout(SHUTDOWN);
    output_queue::flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_and_arguments_have_help() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let (command, argument, help) = (command.get_name(), argument.get_id(), argument.get_help());
                assert!(help.is_some(), "{command} {argument} has no help");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn commands_are_in_the_reference() {
        const REFERENCE: &str = include_str!("../../docs/reference/commands.md");
        let rows: Vec<&str> = REFERENCE.lines().filter(|line| line.starts_with("| `")).collect();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let is_named =
                |row: &&str| row.contains(&format!("`{name}`")) || row.contains(&format!("`{name} "));
            assert!(rows.iter().any(is_named), "docs/reference/commands.md lacks {name}");
        }
    }

    /// clap wraps prose at the width of the terminal, so prose must contain no line breaks. Commands must not
    /// be wrapped at all.
    #[test]
    fn after_help_fits_a_narrow_terminal() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let mut after_prose = false;
            for line in help.lines() {
                let indented = line.starts_with(' ');
                assert!(!indented || line.chars().count() < 80, "{}: too long: {line}", command.get_name());
                assert!(
                    indented || line.is_empty() || !after_prose,
                    "{}: broken: {line}",
                    command.get_name()
                );
                after_prose = !indented && !line.is_empty();
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
