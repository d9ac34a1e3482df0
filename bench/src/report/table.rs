//! The table, in Markdown.

use std::fmt::Write as _;

use super::number;
use crate::peers::OURS;
use crate::statistics::Spread;
use crate::suite::{Results, RowResult, ServerResult};

/// The table of all rows.
pub(crate) fn write(results: &Results) -> String {
    let mut text = String::new();
    let machine = &results.machine;
    let _ = writeln!(
        text,
        "{} × {}, {} GiB, Linux {}, data on {}{}\n",
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        machine.data_on,
        if results.quick { "; QUICK: small amounts, figures are not for comparison" } else { "" },
    );
    text.push_str("| server | version | durable before it answers a push |\n|---|---|---|\n");
    for server in &results.servers {
        let _ = writeln!(text, "| {} | {} | {} |", server.name, server.version, server.syncs);
    }
    for missing in &results.missing {
        let _ = writeln!(text, "| {} | missing | {} |", missing.name, missing.why);
    }
    text.push_str(
        "\nMedian (least–most) of the runs. *times*: how many times as good ours is by the first figure, run by run. \
         *generator*: its share of the processor time of both. *elsewhere*: the share of the machine that neither used.\n",
    );
    for row in &results.rows {
        write_row(&mut text, row);
    }
    text
}

fn write_row(text: &mut String, row: &RowResult) {
    let _ = writeln!(text, "\n### {}: {}\n", row.id, row.title);
    if let Some(why) = &row.skipped {
        let _ = writeln!(text, "Skipped: {why}.");
        return;
    }
    text.push_str("| server |");
    row.measures.iter().for_each(|measure| {
        let _ = write!(text, " {} |", measure.name);
    });
    text.push_str(" times | server CPU s | peak anon MiB | generator | elsewhere |\n|---|");
    row.measures.iter().for_each(|_| text.push_str("--:|"));
    text.push_str("--:|--:|--:|--:|--:|\n");
    let ours = row.of(OURS);
    for server in &row.servers {
        let _ = write!(text, "| {} |", server.name);
        if let Some(failure) = &server.failure {
            let _ = write!(text, " failed: {} |", failure.replace('|', "/"));
            if server.runs.is_empty() {
                text.push('\n');
                continue;
            }
        }
        for measure in 0..row.measures.len() {
            let _ = write!(text, " {} |", server.spread(measure).map_or("–".to_owned(), spread));
        }
        let _ = writeln!(text, " {} | {} |", times(row, ours, server), usage(server));
    }
    for goal in &row.goals {
        let sign = match goal.met {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "open",
        };
        let _ = writeln!(text, "\nGoal {sign}: {}: {}", goal.goal, goal.found);
    }
}

fn spread(spread: Spread) -> String {
    if spread.least.total_cmp(&spread.most).is_eq() {
        return number(spread.median);
    }
    format!("{} ({}–{})", number(spread.median), number(spread.least), number(spread.most))
}

fn times(row: &RowResult, ours: Option<&ServerResult>, server: &ServerResult) -> String {
    let other = ours.filter(|_| server.name != OURS);
    other
        .and_then(|ours| row.ratio(ours, server))
        .map_or(String::new(), |ratio| format!("{} ×", spread(ratio)))
}

fn usage(server: &ServerResult) -> String {
    let median = |field: fn(&crate::measuring::Usage) -> f64| {
        server.usage(field).map_or(f64::NAN, |found| found.median)
    };
    let percent =
        |share: f64| if share.is_nan() { "–".to_owned() } else { format!("{:.0} %", share * 100.0) };
    format!(
        "{} | {} | {} | {}",
        number(median(|usage| usage.server_cpu)),
        number(median(|usage| usage.peak_mib)),
        percent(median(|usage| usage.generator_cpu / (usage.generator_cpu + usage.server_cpu))),
        percent(median(|usage| usage.elsewhere)),
    )
}
