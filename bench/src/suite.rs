//! Runs rows on servers, in turn: each server once, then each again, so that a disturbance meets all alike.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::instance::{Candidate, Context, Instance};
use crate::machine::{Machine, free_space};
use crate::measuring::{Usage, await_quiet};
use crate::peers::{self, OURS};
use crate::rows::{Baseline, Better, Goal, Measure, Row, Rule};
use crate::statistics::Spread;

/// Everything that came out.
#[derive(Serialize)]
pub(crate) struct Results {
    /// The version of this format.
    pub(crate) format: u32,
    /// Small amounts, good for finding that something broke and for nothing else.
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    pub(crate) servers: Vec<ServerInfo>,
    /// The servers that could not take part.
    pub(crate) missing: Vec<Missing>,
    pub(crate) rows: Vec<RowResult>,
}

/// A server that took part.
#[derive(Serialize)]
pub(crate) struct ServerInfo {
    pub(crate) name: &'static str,
    /// The version it says it is.
    pub(crate) version: String,
    /// The content that is synced before a push is answered.
    pub(crate) syncs: &'static str,
    /// No registry, but what is possible at most.
    pub(crate) limit: bool,
}

/// A server that did not.
#[derive(Serialize)]
pub(crate) struct Missing {
    pub(crate) name: &'static str,
    pub(crate) why: String,
}

/// The results of one row.
#[derive(Serialize)]
pub(crate) struct RowResult {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) measures: &'static [Measure],
    pub(crate) servers: Vec<ServerResult>,
    /// Why nobody did it.
    pub(crate) skipped: Option<String>,
    pub(crate) goals: Vec<GoalResult>,
}

/// The results of one row on one server.
#[derive(Serialize)]
pub(crate) struct ServerResult {
    pub(crate) name: &'static str,
    /// A value for each measure, run after run.
    pub(crate) runs: Vec<Vec<f64>>,
    /// The cost of each run.
    pub(crate) usage: Vec<Usage>,
    /// Why it could not.
    pub(crate) failure: Option<String>,
}

/// The outcome of a goal.
#[derive(Serialize)]
pub(crate) struct GoalResult {
    /// The goal in words.
    pub(crate) goal: String,
    /// The measured value in the same words.
    pub(crate) found: String,
    /// Whether it was reached; nothing if there was nobody to compare with.
    pub(crate) met: Option<bool>,
}

impl ServerResult {
    /// The values of one measure.
    pub(crate) fn spread(&self, measure: usize) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| run.get(measure).copied()))
    }

    /// The same of something that is known of every run.
    pub(crate) fn usage(&self, field: impl Fn(&Usage) -> f64) -> Option<Spread> {
        Spread::of(self.usage.iter().map(field))
    }
}

impl RowResult {
    /// The summary of that server.
    pub(crate) fn of(&self, name: &str) -> Option<&ServerResult> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// How many times as good the first server is as the second, by the first measure, run by run.
    pub(crate) fn ratio(&self, first: &ServerResult, second: &ServerResult) -> Option<Spread> {
        let better = self.measures.first()?.better;
        Spread::of(first.runs.iter().zip(&second.runs).filter_map(|(one, other)| {
            let (one, other) = (one.first()?, other.first()?);
            Some(times_as_good(better, *one, *other))
        }))
    }
}

fn times_as_good(better: Better, one: f64, other: f64) -> f64 {
    match better {
        Better::Higher => one / other,
        Better::Lower => other / one,
    }
}

/// How often, and how undisturbed.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// How often each row is run.
    pub(crate) runs: usize,
    /// How long to wait, before each run, until others leave the machine alone.
    pub(crate) patience: Duration,
}

/// The partial results are handed over after each row.
pub(crate) fn run(
    world: &Context,
    candidates: &[Candidate],
    missing: Vec<Missing>,
    rows: &[Box<dyn Row>],
    pace: Pace,
    mut so_far: impl FnMut(&Results) -> Result<()>,
) -> Result<Results> {
    let mut results = Results {
        format: 1,
        quick: world.scale.quick,
        machine: Machine::here(&world.directory),
        servers: candidates.iter().map(describe).collect(),
        missing,
        rows: Vec::new(),
    };
    for row in rows {
        let mut result = run_row(world, candidates, row.as_ref(), pace);
        let goals = row.goals();
        result.goals = goals.iter().map(|goal| evaluate(goal, &result, &results)).collect();
        results.rows.push(result);
        so_far(&results)?;
    }
    Ok(results)
}

fn describe(candidate: &Candidate) -> ServerInfo {
    ServerInfo {
        name: candidate.peer.name(),
        version: candidate.version.clone(),
        syncs: candidate.peer.syncs(),
        limit: candidate.peer.is_limit(),
    }
}

fn run_row(world: &Context, candidates: &[Candidate], row: &dyn Row, pace: Pace) -> RowResult {
    let title = row.title(world.scale);
    let mut result = RowResult {
        id: row.id(),
        title,
        measures: row.measures(),
        servers: Vec::new(),
        skipped: None,
        goals: Vec::new(),
    };
    let (needed, free) = (row.disk(world.scale), free_space(&world.directory));
    if needed > free {
        result.skipped = Some(format!("needs {} GiB of disk, {} are free", needed >> 30, free >> 30));
        return result;
    }
    let taking_part = candidates
        .iter()
        .filter(|candidate| candidate.peer.speaks(row.front()) && row.takes(candidate.peer.as_ref()));
    let mut sites: Vec<Instance<'_>> =
        taking_part.map(|candidate| Instance::new(world, candidate, row.set(), row.front())).collect();
    result.servers = sites
        .iter()
        .map(|instance| ServerResult {
            name: instance.candidate.peer.name(),
            runs: Vec::new(),
            usage: Vec::new(),
            failure: None,
        })
        .collect();
    for number in 1..=row.runs(pace.runs) {
        for (instance, server) in sites.iter_mut().zip(&mut result.servers) {
            if server.failure.is_some() {
                continue;
            }
            await_quiet(pace.patience);
            match row.run(instance) {
                Ok(outcome) => {
                    let first = outcome.values.first().copied().unwrap_or(f64::NAN);
                    eprintln!(
                        "{} {number}: {}: {first:.3} {}",
                        row.id(),
                        server.name,
                        row.measures()[0].name
                    );
                    server.runs.push(outcome.values);
                    server.usage.push(outcome.usage);
                }
                Err(error) => {
                    eprintln!("{} {number}: {}: {error:#}", row.id(), server.name);
                    server.failure = Some(format!("{error:#}"));
                }
            }
        }
    }
    result
}

fn evaluate(goal: &Goal, row: &RowResult, results: &Results) -> GoalResult {
    let measure = row.measures[goal.measure];
    let median = |row: &RowResult, name: &str| Some(row.of(name)?.spread(goal.measure)?.median);
    let ours = median(row, goal.server);
    let (goal_text, found) = match goal.rule {
        Rule::AtMost(most) => (
            format!("{} at most {most}", measure.name),
            ours.map(|ours| (ours <= most, format!("{ours:.2}"))),
        ),
        Rule::Times(factor, than) => {
            let other = match than {
                Baseline::Peer(name) => median(row, name).map(|value| (name.to_owned(), value)),
                Baseline::Ourselves(id) => {
                    let row = results.rows.iter().find(|row| row.id == id);
                    row.and_then(|row| median(row, goal.server)).map(|value| (format!("in `{id}`"), value))
                }
                Baseline::BestPeer => row
                    .servers
                    .iter()
                    .filter(|server| {
                        let info = results.servers.iter().find(|info| info.name == server.name);
                        !peers::is_ours(server.name) && info.is_some_and(|info| !info.limit)
                    })
                    .filter_map(|server| Some((server.name.to_owned(), server.spread(goal.measure)?.median)))
                    .reduce(
                        |one, other| {
                            if times_as_good(measure.better, other.1, one.1) > 1.0 { other } else { one }
                        },
                    ),
            };
            let who = match (&other, than) {
                (Some((name, _)), Baseline::BestPeer) => format!("the best registry ({name})"),
                (_, Baseline::BestPeer) => "the best registry".to_owned(),
                (_, Baseline::Peer(name)) => name.to_owned(),
                (_, Baseline::Ourselves(id)) => format!("in `{id}`"),
            };
            let found = ours.zip(other).map(|(ours, (_, other))| {
                let times = times_as_good(measure.better, ours, other);
                (times >= factor, format!("{times:.2} ×"))
            });
            (format!("{} {factor} × as good as {who}", measure.name), found)
        }
    };
    let (met, found) = found.map_or((None, "not measured".to_owned()), |(met, found)| (Some(met), found));
    let goal_text = if goal.server == OURS { goal_text } else { format!("{}: {goal_text}", goal.server) };
    GoalResult { goal: goal_text, found, met }
}
