use proptest::collection::vec;
use proptest::prelude::*;

use super::View;
use crate::Dtype;

/// Where each value is, by the definition of a view.
fn places(view: &View) -> Vec<usize> {
    let dimensions = view.shape.iter().zip(&view.stride);
    dimensions.fold(vec![view.offset], |places, (length, stride)| {
        places.iter().flat_map(|place| (0..*length).map(move |i| place + i * stride)).collect()
    })
}

proptest! {
    #[test]
    fn values_are_where_offset_and_strides_say(
        dimensions in vec((0usize..5, 0usize..7), 0..5), offset in 0usize..20, stored in 0usize..60,
        wide in any::<bool>(),
    ) {
        let dtype = if wide { Dtype::I16 } else { Dtype::U8 };
        let (shape, stride) = dimensions.into_iter().unzip();
        let view = View { dtype, offset, shape, stride };
        let storage: Vec<u8> = (0..stored * dtype.size()).map(|i| i as u8).collect();
        let value = |place: usize| &storage[place * dtype.size()..(place + 1) * dtype.size()];
        let places = places(&view);
        let expected = places.iter().all(|p| *p < stored).then(|| places.iter().flat_map(|p| value(*p)).copied().collect());
        let found: Option<Vec<u8>> = view.contiguous(&storage).map(|array| array.data().to_vec());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_numbers_panic_or_reach_outside(
        dimensions in vec((prop_oneof![0usize..4, any::<usize>()], prop_oneof![0usize..4, any::<usize>()]), 0..8),
        offset in prop_oneof![0usize..4, any::<usize>()],
    ) {
        let (shape, stride) = dimensions.into_iter().unzip();
        let view = View { dtype: Dtype::F64, offset, shape, stride };
        // As the limit on bytes does.
        prop_assume!(view.bytes().is_none_or(|bytes| bytes < 1 << 20));
        if let Some(array) = view.contiguous(&[0; 64]) {
            prop_assert_eq!(Some(array.data().len()), view.bytes());
        }
    }
}
