//! stub
use crate::{Reading, References, Rules, State, Windows};
use jiff::Timestamp;
pub(super) fn judge(
    _: &Rules<'_>,
    _: &Windows,
    _: References<'_>,
    _: &mut State,
    _: Timestamp,
) -> Vec<Reading> {
    Vec::new()
}
