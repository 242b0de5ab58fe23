//! Services with an SLO, under a constant load.

use model::chance::Stream;

use crate::slo::{Shop, slo, with_slo};

/// At 390 requests a second, replicas that carry 39 each are ten or eleven, and the learned capacity fluctuates by more than that difference.
#[test]
fn the_size_settles_under_a_constant_load() {
    for load in [90.0, 170.0, 390.0] {
        let mut shop = Shop::new(with_slo(1, 1, slo(None)));
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
