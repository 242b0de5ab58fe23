//! Services that are sized by their promise, under a load that does not change.

use model::chance::Stream;

use crate::promising::{Shop, promising, slo};

/// At 390 requests a second, replicas that carry 39 each are ten or eleven, and the learned capacity fluctuates by more than that difference.
#[test]
fn what_is_learned_comes_to_rest_under_a_load_that_stays() {
    for load in [90.0, 170.0, 390.0] {
        let mut shop = Shop::new(promising(1, 1, slo(None)));
        shop.noise = Some(Stream::named(7, "a shop that is not equally fast"));
        shop.minutes(90, |_| load);
        let mut sizes = vec![shop.desired()];
        for _ in 0..3600 {
            shop.second(load);
            if sizes.last() != Some(&shop.desired()) {
                sizes.push(shop.desired());
            }
        }
        assert!(sizes.len() == 1, "{load} requests a second: {sizes:?} replicas, by {:?}", shop.learned());
    }
}
