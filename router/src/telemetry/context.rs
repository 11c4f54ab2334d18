//! The W3C trace context of a request: `traceparent` and `tracestate`. Pure.

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `traceparent` of version 00, with which those of later ones begin.
const LENGTH: usize = 55;
/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;
/// The flags that we know and pass on: sampled, and that the id is random (level 2).
const KNOWN: u8 = SAMPLED | 2;

/// Whose child a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    /// Of the whole trace, never 0.
    pub(crate) trace: u128,
    /// Of the span that is the parent of what follows, never 0.
    pub(crate) span: u64,
    flags: u8,
}

impl Context {
    /// The first of a trace, with random ids.
    pub(crate) fn root(sampled: bool) -> Self {
        let trace = rand::random::<u128>().max(1);
        Self { trace, span: span_id(), flags: if sampled { SAMPLED } else { 0 } }
    }

    /// A new span of the same trace.
    pub(crate) fn child(self) -> Self {
        Self { span: span_id(), flags: self.flags & KNOWN, ..self }
    }

    pub(crate) const fn sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags as they are passed on.
    pub(crate) const fn flags(self) -> u8 {
        self.flags
    }

    /// As a header, of version 00.
    pub(crate) fn header(self) -> HeaderValue {
        let Self { trace, span, flags } = self;
        HeaderValue::try_from(format!("00-{trace:032x}-{span:016x}-{flags:02x}"))
            .expect("hex digits and dashes are a header value")
    }

    /// Reads a `traceparent`: of version 00 exactly, and of later ones, which may go on behind a dash, what 00 has too.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = split(known)?;
        let version = hex(version)?;
        if version == 0xff || (!more.is_empty() && (version == 0 || more[0] != b'-')) {
            return None;
        }
        let (trace, span) = (hex(trace)?, u64::try_from(hex(span)?).ok()?);
        let flags = u8::try_from(hex(flags)?).ok()?;
        (trace != 0 && span != 0).then_some(Self { trace, span, flags })
    }
}

fn span_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// The four fields of `00-<32>-<16>-01`.
fn split(text: &[u8]) -> Option<[&[u8]; 4]> {
    let dashes = [2, 35, 52].iter().all(|at| text[*at] == b'-');
    dashes.then(|| [&text[..2], &text[3..35], &text[36..52], &text[53..]])
}

/// A number of lower-case hex digits, no more than 32.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Reads the context of a request, and removes what must not be passed on: a `traceparent` that is malformed or there
/// twice, and a `tracestate` without a good one.
pub(crate) fn read(headers: &mut HeaderMap) -> Option<Context> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let context = match (given.next(), given.next()) {
        (Some(one), None) => Context::parse(one.as_bytes()),
        (None, _) if !headers.contains_key(TRACESTATE) => return None,
        _ => None,
    };
    if context.is_none() {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
    context
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<Context> {
        Context::parse(text.as_bytes())
    }

    #[test]
    fn what_the_w3c_text_allows_is_read() {
        let context = parse(GOOD).unwrap();
        assert_eq!(context.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.span, context.sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.header(), GOOD);
        assert!(!parse(&GOOD.replace("-01", "-00")).unwrap().sampled());
        // Later versions may say more.
        for later in ["-01", "-01-", "-01-what-the-future-will-be-like"] {
            let later = GOOD.replacen("00-", "cc-", 1).replace("-01", later);
            assert_eq!(parse(&later), Some(context), "{later}");
        }
    }

    #[test]
    fn what_it_forbids_is_not() {
        let zeros = |n| "0".repeat(n);
        for wrong in [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-"),
            format!("{GOOD}x"),
            GOOD.replacen("00-", "ff-", 1),
            format!("{}.what", GOOD.replacen("00-", "cc-", 1)),
            GOOD.to_uppercase(),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros(32)),
            GOOD.replace("00f067aa0ba902b7", &zeros(16)),
            GOOD.replace("-00f", "_00f"),
            GOOD.replace("-01", "-0g"),
            GOOD.replace("4bf", "+bf"),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(context) = Context::parse(&bytes) {
                prop_assert_eq!(Context::parse(context.header().as_bytes()).unwrap(), context);
            }
        }

        #[test]
        fn a_context_is_read_as_it_was_written(trace in 1u128.., span in 1u64.., flags: u8) {
            let context = Context { trace, span, flags };
            prop_assert_eq!(Context::parse(context.header().as_bytes()), Some(context));
            let child = context.child();
            prop_assert_eq!((child.trace, child.sampled()), (trace, context.sampled()));
            prop_assert_eq!(child.flags & !KNOWN, 0);
        }
    }

    fn headers(given: &[(HeaderName, &'static str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn headers_without_a_good_parent_are_removed_and_others_kept() {
        let state = (TRACESTATE, "a=1");
        let mut kept = headers(&[(TRACEPARENT, GOOD), state.clone(), (TRACESTATE, "b=2")]);
        assert_eq!(read(&mut kept), parse(GOOD));
        assert_eq!(
            (kept[TRACEPARENT].as_bytes(), kept.get_all(TRACESTATE).iter().count()),
            (GOOD.as_bytes(), 2)
        );
        for given in [
            vec![state.clone()],
            vec![(TRACEPARENT, "00-x"), state.clone()],
            vec![(TRACEPARENT, GOOD), (TRACEPARENT, GOOD), state],
        ] {
            let mut given = headers(&given);
            assert_eq!(read(&mut given), None);
            assert!(given.is_empty(), "{given:?}");
        }
    }
}
