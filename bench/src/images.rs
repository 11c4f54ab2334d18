//! B3, B4: how many corrupted images pass before the drift alarm, and how many clean ones per false alarm.

mod peers;
mod rows;

use std::path::PathBuf;

use anyhow::{Context, bail};
use evidence::DriftAlarm;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{ClassCount, Counts, FEATURES, LATER_FEATURES, Profile};

use crate::runs::{each, median, show};
use crate::targets::Targets;
use peers::Peer;
use rows::{CLEAN, Condition, Rows};

/// Images per false alarm that are promised.
const RUN_LENGTH: f64 = 1e6;
/// Clean images before the change and corrupted ones after it. The latter as for the peers.
const BEFORE: u64 = 5000;
/// Corrupted images after which a stream is given up, as for the peers.
pub const WITHIN: u64 = 500;
/// Images of each clean stream; there are a fifth as many as streams with a change.
const CLEAN_IMAGES: u64 = 250_000;
/// Median images to an alarm that are aimed at, from severity 3 on.
const TARGET: u64 = 50;
/// What the target is for: all that changes an image's quality. The others are mixes with another domain.
pub const TARGETED: [&str; 8] = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "gaussian_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg",
];

/// What it reads.
#[derive(Debug, clap::Args)]
pub struct Paths {
    /// CSV of `model-server simulate-drift`; without it there are no figures of images.
    #[arg(long)]
    pub drift: Option<PathBuf>,
    /// The model's reference.json; without it, half of the clean rows are the profile.
    #[arg(long, requires = "drift")]
    pub reference: Option<PathBuf>,
    /// Output of hack/bench-drift-peers.py on the same CSV.
    #[arg(long, requires = "drift")]
    pub drift_peers: Option<PathBuf>,
}

/// How soon a condition was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Name of the corruption.
    pub corruption: String,
    /// 1..=5.
    pub severity: u8,
    /// Median images from the change to the alarm; none if half of the streams had none within 500.
    pub median: Option<u64>,
    /// Streams with an alarm, 0..=1.
    pub share: f64,
}

/// Prints the tables of `streams` streams per condition, and the targets.
///
/// # Errors
/// A file that cannot be read, or does not hold what it should.
pub fn run(paths: &Paths, streams: u64, targets: &mut Targets) -> anyhow::Result<Option<Vec<Found>>> {
    let Some(drift) = &paths.drift else { return Ok(None) };
    let mut rows = rows::read(drift)?;
    let peers = paths.drift_peers.as_deref().map(peers::read).transpose()?.unwrap_or_default();
    println!("\nB3, B4  images to the drift alarm, one by one, at a run length of {RUN_LENGTH:.0}");
    unchanged(&mut rows);
    let profile = match &paths.reference {
        Some(path) => {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?
        }
        None => halve(&mut rows)?,
    };
    let alarm = DriftAlarm::new(&profile)?;
    println!("    profile of {} images; {} clean images to draw from", profile.images, rows[&CLEAN].len());
    pool(&alarm, &rows[&CLEAN]);
    clean(&alarm, &rows[&CLEAN], profile.images, streams.div_ceil(5), targets);
    let found = delays(&alarm, &rows, streams);
    table(&found, &peers);
    aims(&found, targets);
    Ok(Some(found))
}

fn aims(found: &[Found], targets: &mut Targets) {
    for corruption in TARGETED {
        let severe: Vec<Option<u64>> = found
            .iter()
            .filter(|f| f.corruption == corruption && f.severity >= 3)
            .map(|f| f.median)
            .collect();
        if severe.is_empty() {
            continue;
        }
        let medians = severe.iter().copied().map(show).collect::<Vec<_>>().join(", ");
        let reached = severe.iter().all(|median| median.is_some_and(|n| n <= TARGET));
        let what = format!("images to alarm, {corruption} at severity 3, 4, 5");
        targets.line(&what, &medians, &format!("<= {TARGET}"), reached);
    }
}

/// Takes out what changed no image: the channels of a grey one may change places.
fn unchanged(rows: &mut Rows) {
    let clean = rows[&CLEAN].clone();
    let mut names = Vec::new();
    rows.retain(|condition, images| {
        let same = *condition != CLEAN && *images == clean;
        if same {
            names.push(format!("{} {}", condition.0, condition.1));
        }
        !same
    });
    if !names.is_empty() {
        println!("    left out, for no image changes: {}", names.join(", "));
    }
}

/// Every second clean row becomes the profile.
fn halve(rows: &mut Rows) -> anyhow::Result<Profile> {
    let clean = rows.get_mut(&CLEAN).expect("read checks that there are clean rows");
    if clean.len() < 2 {
        bail!("{} clean row, expected at least 2: half of them are the profile", clean.len());
    }
    let (ours, theirs): (Vec<_>, Vec<_>) = clean.drain(..).enumerate().partition(|(i, _)| i % 2 == 0);
    *clean = theirs.into_iter().map(|(_, counts)| counts).collect();
    Ok(profile(ours.iter().map(|(_, counts)| counts)))
}

fn profile<'a>(images: impl Iterator<Item = &'a Counts>) -> Profile {
    let mut all = Counts::default();
    let mut profile = Profile::new("1.0.0", &[]);
    // Images without an answer have no class either, so no profile would hold them.
    for image in images.filter(|image| image.null_outputs == 0) {
        all.add(image);
        profile.images += 1;
    }
    profile.features = all.features[..FEATURES.len()].to_vec();
    profile.more_features = LATER_FEATURES
        .into_iter()
        .filter(|feature| all.features[feature.index()].iter().any(|n| *n > 0))
        .map(|feature| (feature.as_str().to_owned(), all.features[feature.index()].clone()))
        .collect();
    profile.confidence = all.doubt;
    profile.classes = all.classes.into_iter().map(|(class, count)| ClassCount { class, count }).collect();
    profile
}

/// A finite pool is not what the profile was drawn from: says where its own rates are beyond what is guarded. There the
/// run length is not promised.
fn pool(alarm: &DriftAlarm, clean: &[Counts]) {
    let mut all = Counts::default();
    clean.iter().for_each(|image| all.add(image));
    for (event, limit, x, n) in alarm.rates(&all) {
        let rate = x as f64 / n.max(1) as f64;
        if rate > limit {
            println!(
                "    of the clean images {:.1} % show {event}; guarded is {:.1} %",
                100.0 * rate,
                100.0 * limit
            );
        }
    }
}

/// An image of the pool.
fn draw<'a>(random: &mut StdRng, images: &'a [Counts]) -> &'a Counts {
    &images[random.random_range(0..images.len())]
}

/// Where the alarm of a stream comes from.
type Source<'a> = dyn Fn(&mut StdRng) -> DriftAlarm + Sync + 'a;

/// False alarms: with the profile at hand, and with profiles drawn from the same pool as the stream.
fn clean(alarm: &DriftAlarm, clean: &[Counts], images: u64, streams: u64, targets: &mut Targets) {
    let fresh = |random: &mut StdRng| {
        let drawn: Vec<&Counts> = (0..images).map(|_| draw(random, clean)).collect();
        DriftAlarm::new(&profile(drawn.into_iter())).expect("the sums of counts add up")
    };
    let sources: [(&str, &Source<'_>); 2] =
        [("the model's profile", &|_| alarm.clone()), ("profiles drawn from the clean images", &fresh)];
    for (source, make) in sources {
        let done = each(streams, |i| {
            let mut random = StdRng::seed_from_u64(1 << 32 | i);
            let start = make(&mut random);
            let (mut alarm, mut alarms, mut why) = (start.clone(), 0, None);
            for _ in 0..CLEAN_IMAGES {
                alarm.observe(draw(&mut random, clean));
                if alarm.alarms(RUN_LENGTH) {
                    alarms += 1;
                    why = Some(alarm.strongest());
                    alarm = start.clone();
                }
            }
            (alarms, why)
        });
        let alarms: u64 = done.iter().map(|(alarms, _)| alarms).sum();
        let drawn = streams * CLEAN_IMAGES;
        if let Some(why) = done.iter().find_map(|(_, why)| why.as_ref()) {
            println!("    a false alarm, {source}: {why}");
        }
        let found = match alarms {
            0 => format!("none in {drawn}"),
            _ => format!("{alarms} in {drawn}, one in {:.0}", drawn as f64 / alarms as f64),
        };
        let reached = alarms as f64 * RUN_LENGTH <= drawn as f64;
        targets.line(&format!("false alarms in clean images, {source}"), &found, "<= 1 in 1e6", reached);
    }
}

/// Per condition the delays of all streams: each is clean for [`BEFORE`] images, which all conditions share.
fn delays(alarm: &DriftAlarm, rows: &Rows, streams: u64) -> Vec<Found> {
    let conditions: Vec<&Condition> = rows.keys().filter(|condition| **condition != CLEAN).collect();
    let done = each(streams, |i| {
        let mut random = StdRng::seed_from_u64(2 << 32 | i);
        let mut before = alarm.clone();
        for _ in 0..BEFORE {
            before.observe(draw(&mut random, &rows[&CLEAN]));
            if before.alarms(RUN_LENGTH) {
                // A false alarm, which is counted elsewhere: the alarm was looked after and set again.
                before = alarm.clone();
            }
        }
        let delay = |condition: &&Condition| {
            let mut alarm = before.clone();
            (1..=WITHIN).find(|_| {
                alarm.observe(draw(&mut random, &rows[*condition]));
                alarm.alarms(RUN_LENGTH)
            })
        };
        conditions.iter().map(delay).collect::<Vec<_>>()
    });
    let found = |(i, (corruption, severity)): (usize, &&Condition)| {
        let delays: Vec<Option<u64>> = done.iter().map(|delays| delays[i]).collect();
        Found {
            corruption: corruption.clone(),
            severity: *severity,
            share: delays.iter().flatten().count() as f64 / delays.len() as f64,
            median: median(delays),
        }
    };
    conditions.iter().enumerate().map(found).collect()
}

fn table(found: &[Found], peers: &[Peer]) {
    println!(
        "    median images to the first alarm (share of streams with one within {WITHIN}); peers: first of 4 numbers"
    );
    print!("    {:<20}{:>14}", "", "Sluice");
    peers.iter().for_each(|peer| print!("{:>14}", peer.name));
    print!("\n    {:<20}{:>14}", "images/false alarm", ">= 1e6");
    peers.iter().for_each(|peer| print!("{:>14}", peer.images_per_false_alarm()));
    println!();
    for f in found {
        let ours = format!("{} ({:.2})", show(f.median), f.share);
        print!("    {:<18}{:>2}{ours:>14}", f.corruption, f.severity);
        for peer in peers {
            let theirs = peer.found.get(&(f.corruption.clone(), f.severity));
            let cell = theirs.map_or("".into(), |(median, share)| format!("{} ({share:.2})", show(*median)));
            print!("{cell:>14}");
        }
        println!();
    }
}
