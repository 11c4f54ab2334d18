//! B7: what a verdict costs in time and in memory.

mod scipy;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use evidence::{Against, Bound, Kind, Metric, Series, Statistic};
use jiff::SignedDuration;
use rand::SeedableRng;
use rand::rngs::StdRng;
use wire::{Counts, FEATURES, Profile};

use crate::family::settings;
use crate::simulated::Settings;
use crate::stage::{Operator, Router};
use crate::targets::Targets;
use crate::traffic::{Arm, Model, drawn};

const INTERVAL: u32 = 15;
const SPLIT: f64 = 0.5;
const PROFILE: u64 = 1500;
/// Requests per second of a model.
const RATES: [u64; 3] = [10, 100, 1000];
/// Intervals of a stream: twice what windows tell apart, and more.
const INTERVALS: usize = 200;
/// Different ones, which return.
const DIFFERENT: usize = 20;

const OBSERVATIONS: f64 = 1e6;
const VERDICT: Duration = Duration::from_millis(1);
const BYTES: usize = 64 * 1024;

/// All four tables; `python` has scipy.
pub fn run(python: Option<&Path>, targets: &mut Targets) {
    println!("\nB7  time and memory, one core");
    let mut random = StdRng::seed_from_u64(7);
    let arms = [Arm::new(Model::GOOD), Arm::new(Model::GOOD)];
    let profiles = [0, 1].map(|i: usize| arms[i].profile(&mut random, PROFILE));
    let streams = RATES.map(|rate| stream(&mut random, &arms, rate * u64::from(INTERVAL)));
    throughput(&streams, &profiles, targets);
    verdicts(&streams, &profiles, targets);
    memory(&streams, &profiles, targets);
    scipy::compare(python, targets);
}

/// What both arms did in some intervals.
type Stream = Vec<[Counts; 2]>;

fn stream(random: &mut StdRng, arms: &[Arm; 2], requests: u64) -> Stream {
    (0..DIFFERENT).map(|_| drawn(random, requests, SPLIT, 1.0, arms.each_ref())).collect()
}

/// From the text of a router's page to the readings of five metrics and all sequential tests.
fn throughput(streams: &[Stream], profiles: &[Profile; 2], targets: &mut Targets) {
    println!(
        "    requests through page, baselines, windows and judge: the metrics of design section 3, all tests"
    );
    println!("      requests/s of the model   per interval of {INTERVAL} s   requests judged per second");
    let settings = settings(INTERVAL);
    for (rate, stream) in RATES.iter().zip(streams) {
        let mut router = Router::new();
        let mut pages = vec![router.text()];
        for counts in stream.iter().cycle().take(INTERVALS) {
            router.count(counts);
            pages.push(router.text());
        }
        let mut operator = Operator::new(&settings, [&profiles[0], &profiles[1]], SPLIT);
        let start = Instant::now();
        for page in &pages {
            let interval = operator.sample(&[Some(page)]);
            black_box(operator.judge(interval));
            operator.wait();
        }
        let spent = start.elapsed().as_secs_f64();
        let judged = (rate * u64::from(INTERVAL)) as f64 * INTERVALS as f64 / spent;
        let each = 1e3 * spent / pages.len() as f64;
        println!("      {rate:>23} {each:>22.3} ms {:>25.2} M", judged / 1e6);
        if *rate == RATES[2] {
            let what = format!("requests judged per second and core, at {rate}/s");
            targets.line(&what, &format!("{:.2} M", judged / 1e6), ">= 1 M", judged >= OBSERVATIONS);
        }
    }
}

/// All eight distances of all series from profile and stable, as far as they have one, and the rates.
fn metrics(asked: usize) -> Vec<Metric> {
    let series = FEATURES.map(Series::Feature).into_iter().chain([Series::Confidence, Series::Class]);
    let mut kinds = vec![
        Kind::ErrorRate,
        Kind::InvalidInputRate,
        Kind::Latency { quantile: 0.5 },
        Kind::Latency { quantile: 0.95 },
        Kind::Latency { quantile: 0.99 },
    ];
    for against in [Against::Reference, Against::Stable] {
        for series in series.clone() {
            let fits = |s: &Statistic| series != Series::Class || !s.needs_order();
            kinds.extend(Statistic::ALL.into_iter().filter(fits).map(|statistic| Kind::Drift {
                series,
                statistic,
                against,
            }));
        }
    }
    // Evenly, so that none of the sorts is left out.
    let all = kinds.len();
    assert!(asked <= all, "{all} metrics can be told apart");
    (0..asked).map(|i| metric(i, kinds[i * all / asked])).collect()
}

fn metric(i: usize, kind: Kind) -> Metric {
    let bound = match kind {
        Kind::Latency { .. } => Bound::MaxRatio(1.3),
        _ => Bound::Max(0.2),
    };
    // Windows of 1 to 10 minutes.
    let window = SignedDuration::from_mins(1 + i as i64 % 10);
    Metric { window, ..Metric::new(&format!("metric-{i}"), kind, bound) }
}

fn verdicts(streams: &[Stream], profiles: &[Profile; 2], targets: &mut Targets) {
    const METRICS: usize = 50;
    println!(
        "    one verdict on {METRICS} metrics of all sorts, windows of 1 to 10 min, with all sequential tests"
    );
    println!("      requests/s of the model     median        95 %");
    let settings = Settings { metrics: metrics(METRICS), ..settings(INTERVAL) };
    let mut slowest = Duration::ZERO;
    for (rate, stream) in RATES.iter().zip(streams) {
        let mut operator = Operator::new(&settings, [&profiles[0], &profiles[1]], SPLIT);
        let mut spent = Vec::new();
        for counts in stream.iter().cycle().take(INTERVALS) {
            operator.wait();
            let interval = operator.dated(counts.clone());
            let start = Instant::now();
            black_box(operator.judge(Some(interval)));
            spent.push(start.elapsed());
        }
        let mut spent = spent.split_off(INTERVALS / 2);
        spent.sort_unstable();
        let [median, most] = [spent.len() / 2, spent.len() * 95 / 100].map(|i| spent[i]);
        println!("      {rate:>23} {median:>10.1?} {most:>11.1?}");
        slowest = slowest.max(median);
    }
    let found = format!("{slowest:.1?} at the worst rate");
    targets.line("verdict on 50 metrics, median", &found, "< 1 ms", slowest < VERDICT);
}

fn memory(streams: &[Stream], profiles: &[Profile; 2], targets: &mut Targets) {
    const METRICS: usize = 16;
    println!(
        "    bytes of a judged model with {METRICS} metrics, the most within {INTERVALS} intervals of a stage"
    );
    println!("      requests/s of the model      state    windows       both");
    let settings = Settings { metrics: metrics(METRICS), ..settings(INTERVAL) };
    let mut largest = 0;
    for (rate, stream) in RATES.iter().zip(streams) {
        let mut operator = Operator::new(&settings, [&profiles[0], &profiles[1]], SPLIT);
        let most = stream.iter().cycle().take(INTERVALS).map(|counts| {
            operator.wait();
            let interval = operator.dated(counts.clone());
            operator.judge(Some(interval));
            operator.bytes()
        });
        let [state, windows] = most.max_by_key(|bytes| bytes.iter().sum::<usize>()).unwrap_or_default();
        println!("      {rate:>23} {state:>10} {windows:>10} {:>10}", state + windows);
        largest = largest.max(state + windows);
    }
    let found = format!("{:.1} KiB at the worst rate", largest as f64 / 1024.0);
    targets.line("memory of a judged model", &found, "< 64 KiB", largest < BYTES);
}
