//! Text as tokens: one for each character that occurs.

use std::path::Path;

use ndarray::Array2;
use tapeless::prelude::*;
use tapeless::rng::{Key, Stream};

/// A text, and the characters that it is made of.
pub struct Text {
    characters: Vec<char>,
    tokens: Vec<u16>,
}

impl Text {
    /// Reads a file. Its characters, in order, are the vocabulary.
    pub fn read(path: &Path, max_vocabulary: usize) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::config(format!("cannot read {}: {error}", path.display())))?;
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        if characters.len() > max_vocabulary {
            let message = format!(
                "{} has {} different characters, the model knows {max_vocabulary}",
                path.display(),
                characters.len()
            );
            return Err(Error::config(message).hint("make VOCAB larger"));
        }
        let mut text_tokens = Self {
            characters,
            tokens: Vec::new(),
        };
        text_tokens.tokens = text_tokens.encode(&text);
        Ok(text_tokens)
    }

    /// The tokens of a text; characters that are not in the vocabulary are left out.
    pub fn encode(&self, text: &str) -> Vec<u16> {
        let token = |c| self.characters.binary_search(&c).ok();
        text.chars().filter_map(token).map(|token| token as u16).collect()
    }

    /// The character of a token.
    pub fn character(&self, token: usize) -> char {
        self.characters.get(token).copied().unwrap_or('\u{fffd}')
    }

    /// The first nine tenths, to train on, and the rest.
    pub fn split(&self) -> (&[u16], &[u16]) {
        self.tokens.split_at(self.tokens.len() * 9 / 10)
    }
}

/// Windows of a text that begin at these places, and the same windows one token on.
pub fn windows(tokens: &[u16], starts: &[usize], length: usize) -> (Array2<u16>, Array2<u16>) {
    let window = |offset: usize| {
        Array2::from_shape_fn((starts.len(), length), |(b, t)| tokens[starts[b] + offset + t])
    };
    (window(0), window(1))
}

/// Random numbers one after the other, from a stream of the library's.
pub struct Dice {
    stream: Stream,
    drawn: u64,
}

impl Dice {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            stream: Key::for_path(seed, "gpt").stream(0),
            drawn: 0,
        }
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.drawn += 1;
        self.stream.uniform_f64(self.drawn)
    }

    /// Places at which windows of `length` tokens and their successors begin.
    pub fn starts(&mut self, n: usize, tokens: &[u16], length: usize) -> Vec<usize> {
        let room = tokens.len().saturating_sub(length);
        (0..n).map(|_| (self.unit() * room as f64) as usize).collect()
    }
}
