//! The sound of digits: two tones at a time, as telephones dial, in noise; and what a bank of filters hears of it.

use std::f64::consts::TAU;

use ndarray::{Array1, Array2, Array3};
use tapeless::rng::{Key, Stream};

/// Samples a second.
const RATE: f64 = 8000.0;
/// Samples from one frame to the next: 20 ms.
const HOP: usize = 160;
/// Samples that a frame hears: 30 ms.
const WINDOW: usize = 240;
/// Filters of the bank.
pub const BANDS: usize = 20;
/// The frequencies of the lowest and the highest filter, in Hz.
const RANGE: (f64, f64) = (600.0, 1700.0);
/// The tones of the rows and columns of a telephone's keys, in Hz (ITU-T Q.23).
const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 3] = [1209.0, 1336.0, 1477.0];
/// Words of the language: the digits.
pub const WORDS: usize = 10;
/// Most words of a sentence.
pub const SENTENCE: usize = 8;

/// Row and column of a digit on the keys.
fn key(digit: usize) -> (usize, usize) {
    match digit {
        0 => (3, 1),
        _ => ((digit - 1) / 3, (digit - 1) % 3),
    }
}

/// Sentences as a recogniser gets them: frames and words filled up with 0 behind their ends, and how many count.
pub struct Batch {
    /// Logarithms of energies, `[sentence, frame, band]`.
    pub sound: Array3<f32>,
    /// Frames of every sentence.
    pub lengths: Array1<i64>,
    /// Digits plus 1, since 0 is the blank.
    pub words: Array2<u8>,
    /// Words of every sentence.
    pub n_words: Array1<i64>,
}

/// Somebody who says digits, seeded.
pub struct Speaker {
    choices: Stream,
    chosen: u64,
    noise: Stream,
    noises: u64,
    /// The deviation of the noise, where a tone has an amplitude of about 1.
    level: f64,
}

impl Speaker {
    /// Speakers of different names say different sentences.
    pub fn new(seed: u64, name: &str, level: f64) -> Self {
        let stream = |part: &str| Key::for_path(seed, &format!("speech/{name}/{part}")).stream(0);
        Self {
            choices: stream("choices"),
            chosen: 0,
            noise: stream("noise"),
            noises: 0,
            level,
        }
    }

    /// Evenly from `low` to `high`.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.chosen += 1;
        low + (high - low) * self.choices.uniform_f64(self.chosen)
    }

    fn below(&mut self, n: usize) -> usize {
        self.between(0.0, n as f64) as usize
    }

    /// A sentence of one to eight digits, and how it sounds.
    fn sentence(&mut self) -> (Vec<usize>, Vec<f64>) {
        let digits: Vec<usize> = (0..1 + self.below(SENTENCE)).map(|_| self.below(WORDS)).collect();
        let mut wave = Vec::new();
        for &digit in &digits {
            self.silence(&mut wave);
            self.tone(digit, &mut wave);
        }
        self.silence(&mut wave);
        for (sample, k) in wave.iter_mut().zip(self.noises..) {
            *sample += self.level * self.noise.normal_f64(k);
        }
        self.noises += wave.len() as u64;
        (digits, wave)
    }

    /// 30 to 100 ms of nothing.
    fn silence(&mut self, wave: &mut Vec<f64>) {
        let n = self.between(0.03 * RATE, 0.1 * RATE) as usize;
        wave.resize(wave.len() + n, 0.0);
    }

    /// 50 to 150 ms of both tones of a digit, of any loudness and phase, off by up to one part in a hundred.
    fn tone(&mut self, digit: usize, wave: &mut Vec<f64>) {
        let n = self.between(0.05 * RATE, 0.15 * RATE) as usize;
        let (row, column) = key(digit);
        let tones = [ROWS[row], COLUMNS[column]].map(|hertz| {
            let pitch = hertz * self.between(0.99, 1.01) / RATE;
            (self.between(0.5, 1.5), pitch, self.between(0.0, 1.0))
        });
        let sample = |t: usize| {
            let tone =
                |&(loud, pitch, phase): &(f64, f64, f64)| loud * (TAU * (pitch * t as f64 + phase)).sin();
            tones.iter().map(tone).sum::<f64>()
        };
        wave.extend((0..n).map(sample));
    }

    /// That many sentences.
    pub fn batch(&mut self, n: usize) -> Batch {
        let sentences: Vec<(Vec<usize>, Vec<[f32; BANDS]>)> = (0..n)
            .map(|_| {
                let (digits, wave) = self.sentence();
                (digits, frames(&wave))
            })
            .collect();
        let longest = sentences
            .iter()
            .map(|(_, frames)| frames.len())
            .max()
            .unwrap_or(0);
        let mut batch = Batch {
            sound: Array3::zeros((n, longest, BANDS)),
            lengths: Array1::zeros(n),
            words: Array2::zeros((n, SENTENCE)),
            n_words: Array1::zeros(n),
        };
        for (b, (digits, frames)) in sentences.iter().enumerate() {
            for (t, frame) in frames.iter().enumerate() {
                for (band, &energy) in frame.iter().enumerate() {
                    batch.sound[[b, t, band]] = energy;
                }
            }
            for (s, &digit) in digits.iter().enumerate() {
                batch.words[[b, s]] = digit as u8 + 1;
            }
            batch.lengths[b] = frames.len() as i64;
            batch.n_words[b] = digits.len() as i64;
        }
        batch
    }
}

/// The most frames that a sentence can have.
pub const FRAMES: usize = ((SENTENCE as f64 * 0.25 + 0.1) * RATE) as usize / HOP + 1;

/// What a bank of filters hears: the logarithm of the energy of every band in every frame, moved to about 0 to 1.
fn frames(wave: &[f64]) -> Vec<[f32; BANDS]> {
    // A Hann window, so that a loud tone is not heard in every band.
    let turn = |t: usize| TAU * (t as f64 + 0.5) / WINDOW as f64;
    let window: [f64; WINDOW] = std::array::from_fn(|t| 0.5 - 0.5 * turn(t).cos());
    let starts = (0..wave.len().saturating_sub(WINDOW - 1)).step_by(HOP);
    let hear = |start: usize| {
        let samples: [f64; WINDOW] = std::array::from_fn(|t| window[t] * wave[start + t]);
        std::array::from_fn(|band| {
            let hertz = RANGE.0 + (RANGE.1 - RANGE.0) * band as f64 / (BANDS - 1) as f64;
            ((energy(&samples, hertz / RATE) + 1e-3).ln() / 4.0 + 1.0) as f32
        })
    };
    starts.map(hear).collect()
}

/// The energy of one frequency (in turns a sample) among windowed samples: the recursion of Goertzel, "An algorithm for
/// the evaluation of finite trigonometric series" (1958).
fn energy(samples: &[f64], pitch: f64) -> f64 {
    let turn = 2.0 * (TAU * pitch).cos();
    let (mut now, mut before) = (0.0, 0.0);
    for sample in samples {
        (now, before) = (sample + turn * now - before, now);
    }
    let power = now * now + before * before - turn * now * before;
    // A sine of amplitude 1 gives 1: half of the window's sum is a quarter of the samples.
    power * (4.0 / samples.len() as f64).powi(2)
}
