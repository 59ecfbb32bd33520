//! Writing: one character after another, each drawn from what the model expects.

use std::io::Write;

use ndarray::{Array1, Array4, ArrayView1, Axis, concatenate, s};
use tapeless::prelude::*;

use crate::text::{Dice, Text};
use crate::{CONTEXT, CharGpt, LAYERS, WIDTH};

/// How to write.
pub struct Style {
    /// How the text begins.
    pub prompt: String,
    /// How many characters to write.
    pub length: usize,
    /// Below 1, likely characters become likelier; 0 always takes the likeliest.
    pub temperature: f64,
    /// Draw from so many of the likeliest characters.
    pub top_k: usize,
    /// Seed of the draws.
    pub draw: u64,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            prompt: "And ".into(),
            length: 600,
            temperature: 0.8,
            top_k: 16,
            draw: 1,
        }
    }
}

/// What the layers remember of the last tokens.
struct Memory {
    keys: Array4<f32>,
    values: Array4<f32>,
    tokens: Vec<u16>,
}

impl Memory {
    fn new() -> Self {
        let nothing = Array4::zeros((LAYERS, 1, 0, WIDTH));
        Self {
            keys: nothing.clone(),
            values: nothing,
            tokens: Vec::new(),
        }
    }

    /// The scores of what follows a token. Where the context is full, the older half of it is forgotten.
    fn read(&mut self, model: &CharGpt, token: u16) -> Result<Array1<f32>> {
        if self.tokens.len() == CONTEXT {
            let recent = self.tokens.split_off(CONTEXT / 2);
            *self = Self::new();
            for token in recent {
                self.read(model, token)?;
            }
        }
        let position = Array1::from_elem(1, self.tokens.len() as i64);
        let token_row = Array1::from_elem(1, token);
        let (scores, key, value) = model.next(&token_row, &position, &self.keys, &self.values)?;
        let append = |all: &Array4<f32>, one: &Array4<f32>| {
            concatenate(Axis(2), &[all.view(), one.view()]).expect("rows of one shape")
        };
        self.keys = append(&self.keys, &key);
        self.values = append(&self.values, &value);
        self.tokens.push(token);
        Ok(scores.slice(s![0, ..]).to_owned())
    }
}

/// Prints a text in that style.
pub fn write(model: &CharGpt, text: &Text, style: &Style) -> Result<()> {
    let prompt = text.encode(&style.prompt);
    let Some((&last, first)) = prompt.split_last() else {
        return Err(
            Error::config("the prompt has no character of the vocabulary").hint("begin with a letter")
        );
    };
    let mut memory = Memory::new();
    for &token in first {
        memory.read(model, token)?;
    }
    let mut dice = Dice::new(style.draw);
    let mut out = std::io::stdout().lock();
    let mut show = |token: u16| write!(out, "{}", text.character(token.into())).and_then(|()| out.flush());
    let printed =
        |result: std::io::Result<()>| result.map_err(|error| Error::config(format!("cannot print: {error}")));
    for &token in &prompt {
        printed(show(token))?;
    }
    let mut token = last;
    for _ in 0..style.length {
        let scores = memory.read(model, token)?;
        token = draw(scores.view(), style, &mut dice);
        printed(show(token))?;
    }
    println!();
    Ok(())
}

/// A token, by the probabilities softmax(scores / temperature) of the likeliest ones.
fn draw(scores: ArrayView1<'_, f32>, style: &Style, dice: &mut Dice) -> u16 {
    let mut ranked: Vec<(usize, f64)> = scores.iter().map(|&score| f64::from(score)).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(style.top_k.max(1));
    let best = ranked[0].1;
    let weight = |score: f64| ((score - best) / style.temperature.max(1e-6)).exp();
    let sum: f64 = ranked.iter().map(|(_, score)| weight(*score)).sum();
    let mut rest = dice.unit() * sum;
    for (token, score) in &ranked {
        rest -= weight(*score);
        if rest < 0.0 {
            return *token as u16;
        }
    }
    ranked[0].0 as u16
}
