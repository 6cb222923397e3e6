//! Runs both clients in turn, and prints each pair and the medians.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::usage::Cost;
use crate::{Client, Job, Work};

pub fn run(work: &Work, rounds: usize, jobs: &[Job]) -> Result<()> {
    let jobs = if jobs.is_empty() { Job::value_variants() } else { jobs };
    println!("{} orders a job; CPU is user and system of the client process", work.orders);
    for job in jobs {
        println!(
            "\n{job:?}\n   ours us  librdkafka us  ratio   ours MB  librdkafka MB   ours orders/s  librdkafka orders/s"
        );
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            let pair = [child(Client::Ours, *job, work)?, child(Client::Librdkafka, *job, work)?];
            print(&pair);
            pairs.push(pair);
        }
        let ratios = pairs.iter().map(|[ours, theirs]| ours.cpu_us / theirs.cpu_us).collect();
        println!("median ratio {:.2}", median(ratios));
    }
    Ok(())
}

fn print([ours, theirs]: &[Cost; 2]) {
    println!(
        "{:>10.3} {:>14.3} {:>6.2} {:>9.0} {:>14.0} {:>15.0} {:>20.0}",
        ours.cpu_us,
        theirs.cpu_us,
        ours.cpu_us / theirs.cpu_us,
        ours.rss_mb,
        theirs.rss_mb,
        ours.rate,
        theirs.rate
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A process of its own, so that CPU and memory are this job's alone.
fn child(client: Client, job: Job, work: &Work) -> Result<Cost> {
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| value().map(|v| v.get_name().to_owned());
    let (client, job) = (name(&|| client.to_possible_value()), name(&|| job.to_possible_value()));
    let output = Command::new(std::env::current_exe()?)
        .arg("run")
        .args(client.into_iter().chain(job))
        .args(["--bootstrap", &work.bootstrap, "--topic", &work.topic, "--orders", &work.orders.to_string()])
        .args(work.settings.iter().map(|setting| format!("-X{setting}")))
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "a job failed: {}", output.status);
    let line = String::from_utf8(output.stdout)?;
    serde_json::from_str(line.lines().last().context("a job printed nothing")?).context(line)
}
