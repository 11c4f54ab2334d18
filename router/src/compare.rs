//! A copy's answer beside the one that the user got. Pure: the random draw is an argument.

use std::borrow::Cow;
use std::time::Duration;

use wire::{Outcome, PairOutcome};

use crate::items::{AnswerHeaders, Item};

/// What is compared of an answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) outcome: Outcome,
    /// From the request to the end of the answer.
    pub(crate) took: Duration,
    /// What a success says of its items.
    pub(crate) success: Option<AnswerHeaders>,
}

/// What is counted of a pair of answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) outcome: PairOutcome,
    /// Confidence of the copy less that of the user's answer, -1..=1.
    pub(crate) gap: Option<f64>,
    /// Time of the copy over that of the user's answer.
    pub(crate) ratio: Option<f64>,
}

/// What is remembered of the user's answer until that of the copy is here: of a batch one item.
#[derive(Debug)]
pub(crate) struct Remembered {
    outcome: Outcome,
    took: Duration,
    drawn: Option<Drawn>,
}

#[derive(Debug)]
struct Drawn {
    /// Which one of how many.
    at: usize,
    of: usize,
    item: Item<'static>,
}

impl Answered {
    /// Keeps one item, each as likely as any other for an even `draw` (C3), and not the headers: they hold on to the
    /// memory that the answer was read into.
    pub(crate) fn remember(self, draw: u32) -> Remembered {
        let drawn = self.success.as_ref().and_then(|success| {
            let of = success.predictions();
            let at = (draw as usize).checked_rem(of)?;
            Some(Drawn { at, of, item: success.item(at).into_owned() })
        });
        Remembered { outcome: self.outcome, took: self.took, drawn }
    }
}

/// What an answer said of the item that is compared.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    /// Absent for a null output, and in another number of items than the other answer has.
    pub(crate) class: Option<String>,
    /// 0..=1.
    pub(crate) confidence: Option<f64>,
}

/// What the user's answer and the copy's said of the item that [`compare`] looks at.
pub(crate) fn said(user: &Remembered, copy: &Answered) -> [Said; 2] {
    let said =
        |Item { class, confidence, .. }: Item<'_>| Said { class: class.map(Cow::into_owned), confidence };
    let Some(drawn) = &user.drawn else { return Default::default() };
    let alike = copy.success.as_ref().filter(|copy| copy.predictions() == drawn.of);
    [said(drawn.item.clone()), alike.map(|copy| said(copy.item(drawn.at))).unwrap_or_default()]
}

/// Compares a copy's answer with the user's.
pub(crate) fn compare(user: &Remembered, copy: &Answered) -> Pair {
    if user.outcome != Outcome::Ok {
        return Pair { outcome: PairOutcome::Unjudged, gap: None, ratio: None };
    }
    if copy.outcome != Outcome::Ok {
        return Pair { outcome: PairOutcome::Failed, gap: None, ratio: None };
    }
    let ratio = Some(copy.took.as_secs_f64() / user.took.as_secs_f64());
    let (outcome, gap) = match (&user.drawn, &copy.success) {
        (Some(user), Some(copy)) => items(user, copy),
        _ => (PairOutcome::Unjudged, None),
    };
    Pair { outcome, gap, ratio }
}

fn items(user: &Drawn, copy: &AnswerHeaders) -> (PairOutcome, Option<f64>) {
    match copy.predictions() {
        0 => return (PairOutcome::Unjudged, None),
        of if of != user.of => return (PairOutcome::Disagree, None),
        _ => {}
    }
    let (user, copy) = (&user.item, &copy.item(user.at));
    if [user, copy].iter().any(|item| item.class.is_none() && !item.null) {
        return (PairOutcome::Unjudged, None);
    }
    let same = user.class == copy.class;
    let gap = copy.confidence.zip(user.confidence).map(|(copy, user)| copy - user);
    (if same { PairOutcome::Agree } else { PairOutcome::Disagree }, gap)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answered(outcome: Outcome, millis: u64, classes: &str, confidences: &str) -> Answered {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-prediction", classes), ("x-confidence", confidences)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let success = (outcome == Outcome::Ok).then(|| AnswerHeaders::of(&headers));
        Answered { outcome, took: Duration::from_millis(millis), success }
    }

    fn ok(classes: &str, confidences: &str) -> Answered {
        answered(Outcome::Ok, 10, classes, confidences)
    }

    fn paired(user: Answered, copy: &Answered, draw: u32) -> Pair {
        compare(&user.remember(draw), copy)
    }

    // rule: C1
    #[test]
    fn good_answers_are_compared_by_class_and_a_null_output_is_an_answer() {
        use PairOutcome::{Agree, Disagree, Unjudged};
        let cat = || ok("cat", "0.75");
        assert_eq!(
            paired(cat(), &answered(Outcome::Ok, 30, "cat", "0.25"), 7),
            Pair { outcome: Agree, gap: Some(-0.5), ratio: Some(3.0) }
        );
        assert_eq!(paired(cat(), &ok("dog", "1"), 7).gap, Some(0.25));
        for (classes, confidences, expected) in [
            ("dog", "0.75", Disagree),
            ("-", "NaN", Disagree),
            ("cat", "NaN", Disagree),
            ("cat", "", Agree),
            ("", "0.75", Unjudged),
            (" ", "0.75", Unjudged),
        ] {
            let other = ok(classes, confidences);
            assert_eq!(paired(cat(), &other, 0).outcome, expected, "{classes:?} {confidences:?}");
            assert_eq!(paired(other, &cat(), 0).outcome, expected, "{classes:?} {confidences:?}");
        }
        let null = paired(ok("-", "NaN"), &ok("-", "NaN"), 0);
        assert_eq!((null.outcome, null.gap), (Agree, None));
    }

    // rule: C2
    #[test]
    fn a_copy_fails_only_where_the_user_got_a_good_answer() {
        let without = |outcome| Pair { outcome, gap: None, ratio: None };
        for outcome in Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Ok) {
            let bad = || answered(outcome, 1, "", "");
            assert_eq!(paired(ok("cat", "0.5"), &bad(), 0), without(PairOutcome::Failed));
            assert_eq!(paired(bad(), &ok("cat", "0.5"), 0), without(PairOutcome::Unjudged));
            assert_eq!(paired(bad(), &bad(), 0), without(PairOutcome::Unjudged));
        }
    }

    // rule: C3
    #[test]
    fn of_a_batch_one_item_is_compared_and_another_number_of_items_disagrees() {
        use PairOutcome::{Agree, Disagree};
        let user = || ok("a,b,-", "0.5,0.5,NaN");
        let pairs: Vec<_> = (0..6).map(|draw| paired(user(), &ok("a,c,-", "0.75,0.5,NaN"), draw)).collect();
        let outcomes: Vec<_> = pairs.iter().map(|pair| pair.outcome).collect();
        assert_eq!(outcomes, [Agree, Disagree, Agree, Agree, Disagree, Agree]);
        assert_eq!(pairs.iter().take(3).map(|p| p.gap).collect::<Vec<_>>(), [Some(0.25), Some(0.0), None]);
        for other in ["a,b", "a,b,-,d"] {
            let pair = paired(user(), &ok(other, "0.5,0.5,NaN"), 0);
            assert_eq!((pair.outcome, pair.gap), (Disagree, None), "{other}");
            let [theirs, ours] = said(&user().remember(0), &ok(other, "0.5,0.5,NaN"));
            assert_eq!((theirs.class.as_deref(), ours), (Some("a"), Said::default()), "{other}");
        }
        let [_, ours] = said(&user().remember(1), &ok("a,c,-", "0.75,0.25,NaN"));
        assert_eq!(ours, Said { class: Some("c".into()), confidence: Some(0.25) });
    }
}
