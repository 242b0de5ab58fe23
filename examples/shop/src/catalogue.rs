//! The products, and their ranking for a visitor.

use crate::work::CpuBudget;

/// A product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Product {
    /// From 1 to the number of products.
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) price: Cents,
    /// From 0 to 999.
    popularity: u32,
}

/// An amount of money, in hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cents(pub(crate) u64);

/// All products; the same in each replica.
#[derive(Debug)]
pub(crate) struct Catalogue {
    products: Vec<Product>,
}

/// Number of products. A ranking of them takes about 20 µs, fine enough for a CPU budget of 1 ms.
const PRODUCTS: u32 = 400;

/// Products on a page.
const SHELF: usize = 12;

const QUALITIES: [&str; 10] =
    ["Plain", "Bright", "Quiet", "Sturdy", "Folding", "Woollen", "Copper", "Striped", "Small", "Grand"];
const COLOURS: [&str; 8] = ["red", "green", "blue", "grey", "amber", "ivory", "black", "violet"];
const THINGS: [&str; 20] = [
    "teapot", "lamp", "chair", "blanket", "kettle", "basket", "clock", "mirror", "bowl", "ladder", "vase",
    "desk", "radio", "scarf", "bench", "candle", "drum", "kite", "jar", "stool",
];

impl Catalogue {
    /// Generates the catalogue from lists of words.
    pub(crate) fn generate() -> Self {
        let product = |id: u32| {
            let chance = mix(u64::from(id));
            let pick = |words: &[&'static str], salt: u32| words[(chance >> salt) as usize % words.len()];
            let name = format!("{} {} {}", pick(&QUALITIES, 0), pick(&COLOURS, 16), pick(&THINGS, 32));
            let price = Cents(199 + chance % 20_000);
            Product { id, name, price, popularity: (chance >> 48) as u32 % 1000 }
        };
        Self { products: (1..=PRODUCTS).map(product).collect() }
    }

    /// Returns the product with this id, if it exists.
    pub(crate) fn product(&self, id: u32) -> Option<&Product> {
        self.products.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// Returns the products that match a query best, by simulating the tastes of visitors.
    ///
    /// Each round ranks the whole catalogue and gives points to the best products; there is at least one, and more
    /// as long as the budget lasts. An empty query matches all products equally.
    pub(crate) fn shelf_for(&self, query: &str, budget: &CpuBudget) -> Vec<&Product> {
        let query = query.to_lowercase();
        let mut points: Vec<u64> = vec![0; self.products.len()];
        let mut ranking: Vec<(u32, usize)> = Vec::with_capacity(self.products.len());
        for round in 0_u64.. {
            ranking.clear();
            ranking.extend(self.products.iter().enumerate().filter_map(|(index, product)| {
                let taste = (mix(round << 32 | u64::from(product.id)) % 400) as u32;
                Some((product.match_of(&query)? + product.popularity + taste, index))
            }));
            ranking.sort_unstable_by(|a, b| b.cmp(a));
            for (place, (_, index)) in ranking.iter().take(SHELF).enumerate() {
                points[*index] += (SHELF - place) as u64;
            }
            if !budget.is_left() {
                break;
            }
        }
        let mut best: Vec<(u64, &Product)> =
            points.into_iter().zip(&self.products).filter(|(points, _)| *points > 0).collect();
        best.sort_unstable_by(|(a, left), (b, right)| b.cmp(a).then(left.id.cmp(&right.id)));
        best.into_iter().take(SHELF).map(|(_, product)| product).collect()
    }
}

impl Product {
    /// Returns the score of a match with a query in lower case; `None` without a match.
    fn match_of(&self, query: &str) -> Option<u32> {
        if query.is_empty() {
            return Some(0);
        }
        let name = self.name.to_lowercase();
        let words = query.split_whitespace().filter(|word| name.contains(word)).count();
        u32::try_from(words).ok().filter(|words| *words > 0).map(|words| words * 2000)
    }
}

impl std::fmt::Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Hashes a number.
///
/// Source: SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shelf(catalogue: &Catalogue, query: &str) -> Vec<Product> {
        catalogue.shelf_for(query, &CpuBudget::of(Duration::ZERO)).into_iter().cloned().collect()
    }

    #[test]
    fn every_replica_has_the_same_catalogue() {
        let (one, other) = (Catalogue::generate(), Catalogue::generate());
        assert_eq!(one.products, other.products);
        assert_eq!(one.product(1).map(|product| product.id), Some(1));
        assert_eq!((one.product(0), one.product(PRODUCTS + 1)), (None, None));
    }

    #[test]
    fn a_search_finds_products_by_their_words() {
        let catalogue = Catalogue::generate();
        let found = shelf(&catalogue, "TEAPOT");
        assert!(
            !found.is_empty() && found.iter().all(|product| product.name.contains("teapot")),
            "{found:?}"
        );
        assert_eq!(shelf(&catalogue, "submarine"), []);
        assert_eq!(shelf(&catalogue, "").len(), SHELF);
    }

    #[test]
    fn an_amount_is_written_with_two_decimals() {
        assert_eq!(Cents(1205).to_string(), "12.05");
    }
}
