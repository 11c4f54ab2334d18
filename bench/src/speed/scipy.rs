//! Kolmogorov-Smirnov on the same values here and in scipy, in the same run.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::Grid;

use crate::targets::Targets;

/// Pairs of samples, and values in each.
const PAIRS: usize = 10;
const VALUES: usize = 10_000;
/// The middle one of so many rounds counts.
const ROUNDS: usize = 9;
const LEVEL: f64 = 0.01;
/// How much faster is promised.
const FASTER: f64 = 20.0;
/// Largest difference of the statistics: rounding.
const SAME: f64 = 1e-9;

/// Reads the values, and prints its version, the milliseconds of the default and of the asymptotic method, and the
/// statistics.
const SCRIPT: &str = "
import sys, time, numpy, scipy
from scipy.stats import ks_2samp
pairs, values, rounds = map(int, sys.argv[1:])
data = numpy.frombuffer(sys.stdin.buffer.read(), dtype='<f8').reshape(pairs, 2, values)
def middle(**method):
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        for a, b in data:
            ks_2samp(a, b, **method)
        spent.append(1e3 * (time.perf_counter() - start))
    return sorted(spent)[rounds // 2]
print(scipy.__version__, middle(), middle(method='asymp'), *(ks_2samp(a, b).statistic for a, b in data))
";

type Samples = [Vec<f64>; 2];

/// Prints the table, or that there is no scipy.
pub(super) fn compare(python: Option<&Path>, targets: &mut Targets) {
    println!("    Kolmogorov-Smirnov, {PAIRS} pairs of {VALUES} values, median of {ROUNDS} rounds");
    let samples = samples();
    let mut statistics = Vec::new();
    let ours = middle(|| {
        let ks = |[a, b]: &Samples| evidence::ks_values(a, b, LEVEL).expect("numbers").value;
        statistics = samples.iter().map(ks).collect();
    });
    println!("      {ours:>9.3} ms  evidence::ks_values");
    let cells: Vec<[Vec<u64>; 2]> =
        samples.iter().map(|[a, b]| [a, b].map(|values| histogram(values))).collect();
    let counted = middle(|| {
        for [a, b] in &cells {
            black_box(evidence::ks(a, b, LEVEL).expect("same cells"));
        }
    });
    println!("      {counted:>9.3} ms  evidence::ks on the cells of a page, as the judge does");
    let Some(python) = python else {
        println!("      skipped: scipy, no --python PATH was given");
        return;
    };
    match scipy(python, &samples) {
        Ok(theirs) => report(ours, &statistics, &theirs, targets),
        Err(error) => println!("      skipped: {} with scipy: {error}", python.display()),
    }
}

fn report(ours: f64, statistics: &[f64], theirs: &Scipy, targets: &mut Targets) {
    let Scipy { version, spent, asymptotic, statistics: others } = theirs;
    println!("      {spent:>9.3} ms  scipy {version} ks_2samp");
    println!("      {asymptotic:>9.3} ms  scipy {version} ks_2samp, method asymp");
    let same =
        statistics.len() == others.len() && statistics.iter().zip(others).all(|(a, b)| (a - b).abs() < SAME);
    targets.line("the same KS statistics as scipy", if same { "yes" } else { "no" }, "yes", same);
    let faster = spent / ours;
    let found = format!("{faster:.1} times ({:.1} of asymp)", asymptotic / ours);
    targets.line("KS on values, faster than scipy", &found, ">= 20 times", faster >= FASTER);
}

fn samples() -> Vec<Samples> {
    let mut random = StdRng::seed_from_u64(10);
    let mut sample = |sure: f64| (0..VALUES).map(|_| random.random::<f64>().powf(sure)).collect::<Vec<f64>>();
    (0..PAIRS).map(|_| [sample(4.0), sample(4.2)]).collect()
}

fn histogram(values: &[f64]) -> Vec<u64> {
    let mut cells = vec![0; Grid::Doubt.len()];
    for value in values {
        cells[Grid::Doubt.cell(*value).expect("within 0..1")] += 1;
    }
    cells
}

/// Milliseconds of the middle one of some rounds.
fn middle(mut work: impl FnMut()) -> f64 {
    let mut spent: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            1e3 * start.elapsed().as_secs_f64()
        })
        .collect();
    spent.sort_unstable_by(f64::total_cmp);
    spent[ROUNDS / 2]
}

struct Scipy {
    version: String,
    spent: f64,
    asymptotic: f64,
    statistics: Vec<f64>,
}

fn scipy(python: &Path, samples: &[Samples]) -> Result<Scipy, Box<dyn Error>> {
    let numbers = [PAIRS, VALUES, ROUNDS].map(|n| n.to_string());
    let mut child = Command::new(python)
        .arg("-c")
        .arg(SCRIPT)
        .args(numbers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let bytes: Vec<u8> =
        samples.iter().flatten().flatten().flat_map(|value: &f64| value.to_le_bytes()).collect();
    // Dropped after writing, which ends its input. Where it fails, what it says on stderr tells why.
    let written = child.stdin.take().expect("it is piped").write_all(&bytes);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().last().unwrap_or("it failed and said nothing").into());
    }
    written?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace();
    let version = words.next().ok_or("it printed nothing")?.to_owned();
    let numbers: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>()?;
    let [spent, asymptotic, statistics @ ..] = numbers.as_slice() else {
        return Err(format!("it printed {text:?}").into());
    };
    Ok(Scipy { version, spent: *spent, asymptotic: *asymptotic, statistics: statistics.to_vec() })
}
