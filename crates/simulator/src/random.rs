//! A small seeded generator (splitmix64). Choices must be repeatable from a seed, so nothing here may read
//! the system's randomness.

/// Mixes one number into another that looks unrelated; a bijection.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream of numbers that depends on nothing but its seed.
pub(crate) struct Random(u64);

impl Random {
    /// Starts the stream for one purpose: `seed` is the simulator's, `purpose` tells streams apart.
    pub(crate) fn new(seed: u64, purpose: u64) -> Random {
        Random(mix(seed ^ mix(purpose)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// True with the given probability; 0 is never and 1 is always.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        // 53 bits are what a double holds exactly, so the quotient is below 1.
        let drawn = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < share
    }

    /// A number from `min` to `max`, both included.
    pub(crate) fn between(&mut self, min: u64, max: u64) -> u64 {
        if max <= min {
            return min;
        }
        match (max - min).checked_add(1) {
            Some(width) => min + self.next() % width,
            None => self.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_gives_the_same_choices_and_shares_are_kept() {
        let draw = |seed| {
            let mut random = Random::new(seed, 7);
            (0..10_000).map(|_| random.chance(0.2)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let hits = draw(1).iter().filter(|hit| **hit).count();
        assert!((1_800..2_200).contains(&hits), "{hits} of 10000 at 20 %");
        let mut random = Random::new(3, 3);
        assert!(!(0..1_000).any(|_| random.chance(0.0)));
        assert!((0..1_000).all(|_| random.chance(1.0)));
        assert!((0..1_000).all(|_| (5..=9).contains(&random.between(5, 9))));
    }
}
