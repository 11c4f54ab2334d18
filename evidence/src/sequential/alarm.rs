//! Do inputs and answers still look like the reference profile? For an alert: nothing here says who is to blame.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wire::{Counts, FEATURES, Feature, Grid, Profile, ProfileError};

use super::Detector;
use crate::clopper_pearson;

/// Parts of the profile's images that a tail holds at most; the first one is a tail that no image lies in.
const TAILS: [f64; 4] = [0.0, 0.01, 0.05, 0.1];
/// Probability that any of the limits is below the rate that it should limit.
const PROFILE_LEVEL: f64 = 0.001;

/// What is counted of each item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Event {
    /// A feature in one of the first cells.
    Below(Feature, usize),
    /// A feature in this cell or a later one.
    Above(Feature, usize),
    /// A doubt in this cell or a later one.
    Unsure(usize),
    /// This class was predicted.
    Class(String),
}

/// One event and the detector that guards its rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Watch {
    event: Event,
    detector: Detector,
}

/// Why there is no alarm for a profile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlarmError {
    /// The profile contradicts itself.
    #[error("the reference profile: {0}")]
    Profile(#[from] ProfileError),
    /// It limits nothing.
    #[error("images is 0 in the reference profile; allowed is at least 1")]
    Empty,
}

/// Alarms when items of a stream lie in the tails of the reference profile more often than the profile allows.
///
/// Events are: each of [`FEATURES`], and saturation where the profile holds it, beyond what the profile shows, and beyond its 1, 5 and 10 % on either side, at the
/// edges of cells within; the same for doubt, but only upwards; each predicted class. A [`Detector`] guards each of them,
/// and their mean is compared with the average run length, which it keeps as each of them does.
///
/// Size is no event: data sets hold images that were cut to one size, and clients send what their cameras take. Entropy and energy are
/// none either: what doubt has not of them (energy: the common part of the logits) differs between the models of a profile, each
/// trained on other folds, and the one that is shipped, so that no rate would be limited.
///
/// Surer than the profile is no event: profiles are made of models that saw four fifths of the training images
/// (`model-server train`), so that the model itself is surer on clean images.
///
/// **What the run length rests on**: each rate is limited by the upper Clopper-Pearson limit of the profile's count at
/// level 0.001 divided by the number of events. So with probability 0.999 over profiles, a stream that is drawn as the
/// profile was alarms after `run_length` items at the earliest, on average. Items of one request are not drawn alone
/// (C3): a client that sends batches of dark images moves rates within a batch.
///
/// **What a small profile costs**: 1,437 images limit a tail of 1 % (14 images) only by 3 %, one of 10 % by 14 %, and one
/// that no image lies in by 0.7 %. A shift that stays below is never found, and one far above costs some images more
/// than it would with a large profile, but not many: evidence grows by ln(rate / limit) per event.
///
/// State: at most 7 events per feature, 4 of doubt and one per class, each 0.15 to 0.2 kB as JSON: 7 kB for ten classes.
/// The judge does not run it yet: it is for an alert beside a rollout, of both arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftAlarm {
    watches: Vec<Watch>,
}

impl DriftAlarm {
    /// An alarm that has seen nothing.
    ///
    /// # Errors
    /// A profile that does not add up, or of no images.
    pub fn new(profile: &Profile) -> Result<Self, AlarmError> {
        profile.check()?;
        if profile.images == 0 {
            return Err(AlarmError::Empty);
        }
        let mut events: Vec<(Event, u64)> = Vec::new();
        for feature in FEATURES.into_iter().chain([Feature::Saturation]) {
            let Some(cells) = profile.feature(feature) else { continue };
            events.extend(tails(cells.iter()).map(|(k, count)| (Event::Below(feature, k), count)));
            let last = cells.len();
            let above = tails(cells.iter().rev());
            events.extend(above.map(|(k, count)| (Event::Above(feature, last - k), count)));
        }
        let last = profile.confidence.len();
        let unsure = tails(profile.confidence.iter().rev());
        events.extend(unsure.map(|(k, count)| (Event::Unsure(last - k), count)));
        // A model of one class says nothing by it.
        let classes = profile.classes.iter().filter(|class| class.count < profile.images);
        events.extend(classes.map(|class| (Event::Class(class.class.clone()), class.count)));
        let level = 2.0 * PROFILE_LEVEL / events.len() as f64;
        let watch = |(event, count)| {
            let limit = clopper_pearson(count, profile.images, level).1;
            // Refused is only a limit that rounds to 1, which limits nothing.
            Some(Watch { event, detector: Detector::new(limit).ok()? })
        };
        Ok(Self { watches: events.into_iter().filter_map(watch).collect() })
    }

    /// Takes what was counted in an interval. Few items at a time are found sooner than many.
    pub fn observe(&mut self, counts: &Counts) {
        for Watch { event, detector } in &mut self.watches {
            let (x, n) = event.count(counts);
            detector.observe(x, n).expect("a part of the cells holds at most what all of them do");
        }
    }

    /// The mean of all detectors: what is compared with the average run length.
    #[must_use]
    pub fn value(&self) -> f64 {
        let all = self.watches.len() as f64;
        self.watches.iter().map(|watch| watch.detector.value() / all).sum()
    }

    /// Whether it alarms *now*, if false alarms may come once in `run_length` items on average (1e6 or more).
    #[must_use]
    pub fn alarms(&self, run_length: f64) -> bool {
        self.value() >= run_length
    }

    /// The event with most evidence, in words, with the rate that the profile limits it by.
    #[must_use]
    pub fn strongest(&self) -> String {
        let value = |watch: &&Watch| watch.detector.value();
        let watch = self.watches.iter().max_by(|a, b| value(a).total_cmp(&value(b)));
        watch.map_or_else(String::new, |Watch { event, detector }| {
            format!("{} in more than {:.1} % of the items", event.text(), 100.0 * detector.limit())
        })
    }

    /// Each event in words, its guarded rate, and how many items of these show it, of how many.
    pub fn rates(&self, counts: &Counts) -> impl Iterator<Item = (String, f64, u64, u64)> {
        self.watches.iter().map(|Watch { event, detector }| {
            let (x, n) = event.count(counts);
            (event.text(), detector.limit(), x, n)
        })
    }
}

impl Event {
    /// How many items showed it, of how many.
    fn count(&self, counts: &Counts) -> (u64, u64) {
        let sum = |cells: &[u64]| cells.iter().sum::<u64>();
        match self {
            Self::Below(feature, cell) => {
                let cells = &counts.features[feature.index()];
                (sum(&cells[..*cell]), sum(cells))
            }
            Self::Above(feature, cell) => {
                let cells = &counts.features[feature.index()];
                (sum(&cells[*cell..]), sum(cells))
            }
            Self::Unsure(cell) => (sum(&counts.doubt[*cell..]), sum(&counts.doubt)),
            Self::Class(class) => {
                (counts.classes.get(class).copied().unwrap_or_default(), counts.classes.values().sum())
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Below(feature, k) => {
                format!("{} at most {:.4}", feature.as_str(), feature.grid().edge(k - 1))
            }
            Self::Above(feature, k) => {
                format!("{} above {:.4}", feature.as_str(), feature.grid().edge(k - 1))
            }
            Self::Unsure(k) => format!("confidence below {:.4}", 1.0 - Grid::Doubt.edge(k - 1)),
            Self::Class(class) => format!("class {class}"),
        }
    }
}

/// The tails at the front of these cells: how many cells, and how many of the profile's images lie in them. For each of
/// [`TAILS`] the longest that holds no more.
fn tails<'a>(cells: impl Iterator<Item = &'a u64>) -> impl Iterator<Item = (usize, u64)> {
    let mut sum = 0;
    let sums: Vec<u64> = cells
        .map(|count| {
            sum += count;
            sum
        })
        .collect();
    let longest = |part: f64| sums.partition_point(|&upto| upto as f64 <= part * sum as f64);
    let lengths: BTreeSet<usize> =
        TAILS.into_iter().map(longest).filter(|&k| k > 0 && k < sums.len()).collect();
    lengths.into_iter().map(move |k| (k, sums[k - 1]))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use wire::ClassCount;

    use super::*;

    const IMAGES: u64 = 1437;

    /// Cells of an image: three features about their middle, doubt, class.
    fn image(random: &mut StdRng) -> ([usize; 4], usize) {
        let mut bell = |width: usize| (0..4).map(|_| random.random_range(0..width)).sum::<usize>();
        ([10 + bell(6), 20 + bell(8), 4 + bell(3), bell(16)], random.random_range(0..10))
    }

    fn counts((cells, class): ([usize; 4], usize)) -> Counts {
        let mut counts = Counts::default();
        for (i, cell) in cells.into_iter().enumerate() {
            counts.features[..3].get_mut(i).unwrap_or(&mut counts.doubt)[cell] += 1;
        }
        counts.classes.insert(class.to_string(), 1);
        counts
    }

    fn profile(random: &mut StdRng) -> Profile {
        let mut all = Counts::default();
        for _ in 0..IMAGES {
            all.add(&counts(image(random)));
        }
        let mut profile = Profile::new("1.0.0", &[]);
        profile.images = IMAGES;
        profile.features = all.features[..3].to_vec();
        profile.confidence = all.doubt;
        profile.classes = all.classes.into_iter().map(|(class, count)| ClassCount { class, count }).collect();
        profile
    }

    #[test]
    fn images_like_the_profiles_raise_no_alarm() {
        // rule: S1. At a run length of 1e6, 20 streams of 2,000 images alarm with probability 0.04 at most: R - n is a
        // supermartingale, so P(an alarm within n) <= n / 1e6.
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..20 {
            let mut alarm = DriftAlarm::new(&profile(&mut random)).unwrap();
            for _ in 0..2000 {
                alarm.observe(&counts(image(&mut random)));
                assert!(!alarm.alarms(1e6), "{} {}", alarm.value(), alarm.strongest());
            }
        }
    }

    #[test]
    fn half_of_the_images_beyond_the_99th_percentile_are_found_at_once() {
        let mut random = StdRng::seed_from_u64(2);
        let mut alarm = DriftAlarm::new(&profile(&mut random)).unwrap();
        for _ in 0..2000 {
            alarm.observe(&counts(image(&mut random)));
        }
        let found = (1..).find(|i| {
            let (mut cells, class) = image(&mut random);
            if i % 2 == 0 {
                cells[0] = 40;
            }
            alarm.observe(&counts((cells, class)));
            alarm.alarms(1e6)
        });
        // Each image beyond adds ln(30 / (1 + 29 limit)), about 3.2, and each within takes 0.2: 20 are enough for
        // ln(1e6 * 30 events * 8 bets) = 19.3.
        assert!(found <= Some(20), "{found:?}");
        assert!(alarm.strongest().starts_with("brightness above 0."), "{}", alarm.strongest());
    }

    #[test]
    fn a_class_that_is_predicted_for_all_is_found_and_surer_answers_are_not() {
        let mut random = StdRng::seed_from_u64(3);
        let mut alarm = DriftAlarm::new(&profile(&mut random)).unwrap();
        for _ in 0..2000 {
            let (mut cells, class) = image(&mut random);
            cells[3] = 0;
            alarm.observe(&counts((cells, class)));
        }
        assert!(!alarm.alarms(1e6), "{}", alarm.strongest());
        for _ in 0..30 {
            alarm.observe(&counts((image(&mut random).0, 7)));
        }
        assert!(alarm.alarms(1e6) && alarm.strongest().starts_with("class 7"), "{}", alarm.strongest());
    }

    #[test]
    fn images_that_turn_grey_are_found_by_a_profile_that_holds_saturation_and_no_other() {
        let mut random = StdRng::seed_from_u64(5);
        let old = profile(&mut random);
        let mut new = old.clone();
        let colours = |random: &mut StdRng| f64::from(random.random_range(10u8..30)) / 64.0;
        (0..IMAGES).for_each(|_| new.count(Feature::Saturation, colours(&mut random)));
        let [mut old, mut new] = [old, new].map(|profile| DriftAlarm::new(&profile).unwrap());
        let mut see = |grey: bool, old: &mut DriftAlarm, new: &mut DriftAlarm| {
            let mut counts = counts(image(&mut random));
            let saturation = if grey { 0.0 } else { colours(&mut random) };
            counts.features[Feature::Saturation.index()][Grid::Unit.cell(saturation).unwrap()] += 1;
            old.observe(&counts);
            new.observe(&counts);
        };
        for _ in 0..2000 {
            see(false, &mut old, &mut new);
            assert!(!new.alarms(1e6), "{} {}", new.value(), new.strongest());
        }
        (0..30).for_each(|_| see(true, &mut old, &mut new));
        assert!(
            new.alarms(1e6) && new.strongest().starts_with("saturation at most 0."),
            "{}",
            new.strongest()
        );
        assert!(!old.alarms(1e6), "{}", old.strongest());
        // A stream that tells no saturation is no drift of it.
        (0..100).for_each(|_| new.observe(&Counts::default()));
    }

    #[test]
    fn state_is_small_and_comes_back_bit_by_bit() {
        let mut random = StdRng::seed_from_u64(4);
        let mut alarm = DriftAlarm::new(&profile(&mut random)).unwrap();
        alarm.observe(&counts(image(&mut random)));
        let json = serde_json::to_string(&alarm).unwrap();
        assert!(json.len() < 8000, "{}", json.len());
        assert_eq!(serde_json::from_str::<DriftAlarm>(&json).unwrap(), alarm);
    }

    #[test]
    fn a_profile_of_nothing_or_that_does_not_add_up_is_refused() {
        let mut profile = Profile::new("1.0.0", &["a".into(), "b".into()]);
        let error = DriftAlarm::new(&profile).unwrap_err();
        assert_eq!(error.to_string(), "images is 0 in the reference profile; allowed is at least 1");
        profile.images = 5;
        let error = DriftAlarm::new(&profile).unwrap_err();
        assert_eq!(error.to_string(), "the reference profile: brightness holds 0, expected 5");
    }
}
