//! Who multiplies, and what.

use std::num::NonZeroUsize;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use gemm::Parallelism;
use tapeless_runtime::cpu::gemm::{Matrix, products};
use tapeless_runtime::cpu::isa::Isa;
use tapeless_runtime::cpu::threads::Team;

use crate::Result;

/// How both factors lie.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Layout {
    transposed: [bool; 2],
}

impl Layout {
    /// Reads `nn`, `nt`, `tn` or `tt`.
    ///
    /// # Errors
    ///
    /// For anything else.
    pub fn read(text: &str) -> Result<Self> {
        let transposed = match text {
            "nn" => [false, false],
            "nt" => [false, true],
            "tn" => [true, false],
            "tt" => [true, true],
            _ => return Err(format!("not a layout: {text}").into()),
        };
        Ok(Self { transposed })
    }

    /// Steps from row to row and from column to column of factor `which`, of `rows` x `cols`.
    fn steps(self, which: usize, [rows, cols]: [usize; 2]) -> [isize; 2] {
        if self.transposed[which] {
            [1, rows as isize]
        } else {
            [cols as isize, 1]
        }
    }
}

/// Two factors and their product.
#[derive(Default)]
pub struct Operands {
    size: [usize; 3],
    /// Steps of both factors.
    steps: [[isize; 2]; 2],
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Operands {
    /// Factors of a product of `m` x `k` and `k` x `n`, in memory of their own.
    pub fn prepare(&mut self, [m, n, k]: [usize; 3], layout: Layout) {
        let numbers = |len: usize, seed: usize| -> Vec<f32> {
            (0..len)
                .map(|i| ((i * 31 + seed) % 97) as f32 / 97.0 - 0.5)
                .collect()
        };
        let steps = [layout.steps(0, [m, k]), layout.steps(1, [k, n])];
        if self.size == [m, n, k] && self.steps == steps {
            return;
        }
        *self = Self {
            size: [m, n, k],
            steps,
            a: numbers(m * k, 1),
            b: numbers(k * n, 5),
            c: vec![0.0; m * n],
        };
    }

    /// The sum of the result's numbers, each weighted by where it stands.
    pub fn sum(&self) -> f64 {
        let weighted = self.c.iter().enumerate();
        weighted.map(|(i, &c)| f64::from(c) * (i % 7 + 1) as f64).sum()
    }
}

/// Who multiplies.
pub enum Library {
    /// Ours.
    Ours(Team, Isa),
    /// The crate `gemm`.
    Gemm(Parallelism),
    /// The crate `faer`.
    Faer(Par),
    /// The crate `matrixmultiply`; it reads the number of threads from `MATMUL_NUM_THREADS`.
    Matrixmultiply,
}

impl Library {
    /// By name.
    ///
    /// # Errors
    ///
    /// For another name, and where threads cannot be started.
    pub fn new(name: &str, threads: usize) -> Result<Self> {
        let count = NonZeroUsize::new(threads).ok_or("no threads")?;
        Ok(match name {
            "ours" => Self::Ours(Team::new(count)?, Isa::best()),
            "gemm" if threads == 1 => Self::Gemm(Parallelism::None),
            "gemm" => Self::Gemm(Parallelism::Rayon(threads)),
            "faer" if threads == 1 => Self::Faer(Par::Seq),
            "faer" => Self::Faer(Par::rayon(threads)),
            "matrixmultiply" => Self::Matrixmultiply,
            other => return Err(format!("there is no library {other}").into()),
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ours(..) => "ours",
            Self::Gemm(_) => "gemm",
            Self::Faer(_) => "faer",
            Self::Matrixmultiply => "matrixmultiply",
        }
    }

    /// Overwrites the result with the product.
    pub fn multiply(&self, operands: &mut Operands) {
        match self {
            Self::Ours(team, isa) => by_ours(team, *isa, operands),
            Self::Gemm(parallelism) => by_gemm(*parallelism, operands),
            Self::Faer(par) => by_faer(*par, operands),
            Self::Matrixmultiply => by_matrixmultiply(operands),
        }
    }
}

fn by_ours(team: &Team, isa: Isa, operands: &mut Operands) {
    let ([m, n, k], [a_steps, b_steps]) = (operands.size, operands.steps);
    let (a, b) = (&operands.a, &operands.b);
    let factors = |_| {
        let a = Matrix::new(a, 0, [m, k], a_steps);
        (a, Matrix::new(b, 0, [k, n], b_steps))
    };
    products((team, isa), 1, factors, &mut operands.c, (m, n), |_, _| {});
}

fn by_gemm(parallelism: Parallelism, operands: &mut Operands) {
    let ([m, n, k], [a, b]) = (operands.size, operands.steps);
    // SAFETY: the factors have m k and k n elements and the result m n; all steps stay within (`Layout::steps`).
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            operands.c.as_mut_ptr(),
            1,
            n as isize,
            false,
            operands.a.as_ptr(),
            a[1],
            a[0],
            operands.b.as_ptr(),
            b[1],
            b[0],
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn by_faer(par: Par, operands: &mut Operands) {
    let ([m, n, k], [a, b]) = (operands.size, operands.steps);
    // SAFETY: as for `by_gemm`.
    let (c, a, b) = unsafe {
        (
            MatMut::from_raw_parts_mut(operands.c.as_mut_ptr(), m, n, n as isize, 1),
            MatRef::from_raw_parts(operands.a.as_ptr(), m, k, a[0], a[1]),
            MatRef::from_raw_parts(operands.b.as_ptr(), k, n, b[0], b[1]),
        )
    };
    matmul(c, Accum::Replace, a, b, 1.0, par);
}

fn by_matrixmultiply(operands: &mut Operands) {
    let ([m, n, k], [a, b]) = (operands.size, operands.steps);
    let (x, y, c) = (operands.a.as_ptr(), operands.b.as_ptr(), operands.c.as_mut_ptr());
    // SAFETY: as for `by_gemm`.
    unsafe { matrixmultiply::sgemm(m, k, n, 1.0, x, a[0], a[1], y, b[0], b[1], 0.0, c, n as isize, 1) };
}
