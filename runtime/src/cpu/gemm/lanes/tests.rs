use super::Lanes;
use crate::cpu::gemm::{OnVectors, Product, SmallProduct};
use crate::cpu::isa::Isa;

/// What every kind of vectors must do to some numbers, and a number that stands where nothing may be written.
struct Check<T> {
    numbers: [T; 17],
    untouched: T,
}

impl<T: Product> OnVectors<T> for Check<T> {
    type Output = ();

    fn run<L: Lanes<T>>(self, lanes: L) {
        let numbers = |x: L::Vector| {
            let mut all = [T::ZERO; 16];
            lanes.store(x, &mut all);
            all[..L::LANES].to_vec()
        };
        let x = &self.numbers[..L::LANES];
        assert_eq!(numbers(lanes.load(x)), x);
        for len in 0..=L::LANES + 1 {
            let mut part = x.to_vec();
            part[len.min(L::LANES)..].fill(T::ZERO);
            // A slice of that very length, so that what lies behind it belongs to nobody.
            let from = self.numbers[..len].to_vec();
            assert_eq!(numbers(lanes.load_part(&from)), part, "{len} numbers are loaded");
            let mut to = [self.untouched; 17];
            lanes.store_part(lanes.load(x), &mut to[..len]);
            let end = len.min(L::LANES);
            assert_eq!(to[..end], x[..end], "{len} numbers are stored");
            assert!(
                to[end..].iter().all(|n| *n == self.untouched),
                "more than {len} numbers are stored"
            );
        }
        let sum = |some: &[T]| some.iter().fold(0.0, |sum, n| sum + n.to_f64());
        assert_eq!(lanes.sum(lanes.load(x)).to_f64(), sum(x));
        let two = lanes.splat(T::ONE + T::ONE);
        let times = lanes.mul_add(two, lanes.load(x), lanes.splat(T::ONE));
        for (got, n) in numbers(times).iter().zip(x) {
            assert_eq!(got.to_f64(), 2.0 * n.to_f64() + 1.0);
        }
        let differences = numbers(lanes.sub(lanes.add(lanes.load(x), two), lanes.load(x)));
        assert!(differences.iter().all(|n| n.to_f64() == 2.0));
        check_relu(lanes, numbers);
        check_turn(lanes);
    }
}

/// Negative zero becomes positive, as by [`Real::relu`](crate::real::Real::relu), and NaN stays.
fn check_relu<T: Product, L: Lanes<T>>(lanes: L, numbers: impl Fn(L::Vector) -> Vec<T>) {
    for n in [
        T::ONE,
        -T::ONE,
        T::ZERO,
        -T::ZERO,
        T::INFINITY,
        -T::INFINITY,
        T::NAN,
        -T::NAN,
    ] {
        for got in numbers(lanes.relu(lanes.splat(n))) {
            let want = n.relu();
            let same =
                got == want && got.recip() == want.recip() || got.to_f64().is_nan() && want.to_f64().is_nan();
            assert!(same, "relu of {n} is {got} for {want}");
        }
    }
}

/// Squares whose last rows may be missing, with rows that lie apart.
fn check_turn<T: Product, L: Lanes<T>>(lanes: L) {
    let (side, step) = (L::LANES, L::LANES + 3);
    for last in 0..side {
        let from: Vec<T> = (0..last * step + side).map(|n| T::from_i64(n as i64)).collect();
        let mut to = vec![T::NAN; side * side];
        lanes.turn(&from, step, last, &mut to);
        for (at, got) in to.iter().enumerate() {
            let (k, r) = (at / side, at % side);
            assert_eq!(
                *got,
                from[r.min(last) * step + k],
                "column {k}, row {r} of {last}"
            );
        }
    }
}

fn check<T: SmallProduct>() {
    for &isa in Isa::available() {
        let mut numbers = [T::ZERO; 17];
        for (k, n) in numbers.iter_mut().enumerate() {
            *n = T::from_i64((k * k) as i64 + 1);
        }
        let untouched = T::from_i64(-7);
        T::on_vectors(isa, Check { numbers, untouched });
    }
}

/// Parts are loaded and stored alone, sums and squares are those of the definition, on every set.
#[test]
fn vectors_do_what_is_said_of_them() {
    check::<f32>();
    #[cfg(feature = "f64")]
    check::<f64>();
}
