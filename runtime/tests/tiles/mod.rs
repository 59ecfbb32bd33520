//! AMX on machines that lack it: a handler of SIGILL that carries out tile instructions in software.
//!
//! The very assembly that runs on machines with tiles raises SIGILL here, instruction by instruction. The handler decodes the
//! instruction at fault, does to tiles of its own what the manual says (*Intel 64 and IA-32 Architectures Software Developer's
//! Manual*, volume 2: `LDTILECFG`, `TILERELEASE`, `TILELOADD`, `TILESTORED`, `TILEZERO`, `TDPBF16PS`), and goes on after it.
//! What the manual makes an exception ends the process: an instruction that is not one of these, tiles without a configuration.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::cell::Cell;
use std::cell::UnsafeCell;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use tapeless_runtime::cpu::amx::Amx;
use tapeless_runtime::cpu::isa::Avx512;

/// Instructions that were carried out, by kind.
pub static CONFIGURED: AtomicUsize = AtomicUsize::new(0);
pub static RELEASED: AtomicUsize = AtomicUsize::new(0);
pub static LOADED: AtomicUsize = AtomicUsize::new(0);
pub static STORED: AtomicUsize = AtomicUsize::new(0);
pub static MULTIPLIED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Products of tiles that were carried out on this thread. (It needs no destructor, so that a handler of signals may use it.)
    pub static MULTIPLIED_HERE: Cell<usize> = const { Cell::new(0) };
}

/// Who executes tile instructions.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Executed {
    /// The CPU.
    ByTheCpu,
    /// The handler, which counts them.
    InSoftware,
}

/// Tiles, by the CPU or in software; nothing on a CPU without AVX-512, whose instructions the packing needs.
pub fn tiles() -> Option<(Amx, Executed)> {
    if let Some(amx) = Amx::detect() {
        return Some((amx, Executed::ByTheCpu));
    }
    static INSTALLED: Once = Once::new();
    let avx512 = Avx512::detect()?;
    INSTALLED.call_once(install);
    // SAFETY: the handler carries out the instructions.
    Some((unsafe { Amx::assume(avx512) }, Executed::InSoftware))
}

fn install() {
    // SAFETY: a handler that is given the context of the fault; all other fields may be zero.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(
            libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()),
            0
        );
    }
}

/// One thread's tiles.
struct Tiles {
    /// Rows and bytes a row of each tile; nothing where no configuration was loaded.
    sizes: Option<[(usize, usize); 8]>,
    data: [[[u32; 16]; 16]; 8],
}

thread_local! {
    /// Neither initialised lazily nor dropped, so that a handler may use it at any time.
    static TILES: UnsafeCell<Tiles> = const {
        UnsafeCell::new(Tiles { sizes: None, data: [[[0; 16]; 16]; 8] })
    };
}

extern "C" fn on_fault(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system passes the context of the thread at fault, which nobody else uses; its instruction pointer points to
    // the instruction, whose bytes are read one after the other as far as it goes.
    let length = unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let registers = &mut context.uc_mcontext.gregs;
        let mut code = Code {
            at: registers[libc::REG_RIP as usize] as *const u8,
            length: 0,
            registers,
        };
        TILES
            .with(|tiles| execute(&mut code, &mut *tiles.get()))
            .map(|()| code.length)
    };
    match length {
        // SAFETY: as above.
        Some(length) => unsafe {
            let context = &mut *context.cast::<libc::ucontext_t>();
            context.uc_mcontext.gregs[libc::REG_RIP as usize] += length as i64;
        },
        // Back to the fault, which now ends the process.
        // SAFETY: this asks for the default action of a signal.
        None => unsafe {
            libc::signal(libc::SIGILL, libc::SIG_DFL);
        },
    }
}

/// The instruction at fault and the registers of its thread.
struct Code<'a> {
    at: *const u8,
    length: usize,
    registers: &'a [libc::greg_t; 23],
}

impl Code<'_> {
    /// The next byte.
    ///
    /// # Safety
    /// It must belong to the instruction.
    unsafe fn byte(&mut self) -> u8 {
        self.length += 1;
        // SAFETY: the caller says that it can be read.
        unsafe { *self.at.add(self.length - 1) }
    }

    fn register(&self, number: u8) -> usize {
        use libc::{
            REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP, REG_RBX,
            REG_RCX, REG_RDI, REG_RDX, REG_RSI, REG_RSP,
        };
        let order = [
            REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10,
            REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
        ];
        self.registers[order[usize::from(number)] as usize] as usize
    }

    /// The address of a memory operand, and the value of its index register (0 where it has none).
    ///
    /// # Safety
    /// The bytes after the ModR/M byte must be the operand's.
    unsafe fn address(&mut self, modrm: u8, [x, b]: [u8; 2]) -> Option<(usize, usize)> {
        let (mode, rm) = (modrm >> 6, modrm & 7);
        let (mut base, mut index) = (Some(b << 3 | rm), None);
        let mut scale = 0;
        if rm == 4 {
            // SAFETY: this form has a SIB byte.
            let sib = unsafe { self.byte() };
            scale = sib >> 6;
            index = Some(x << 3 | sib >> 3 & 7).filter(|&index| index != 4);
            base = Some(b << 3 | sib & 7);
        }
        if mode == 0 && base.is_some_and(|base| base & 7 == 5) {
            // Relative to the instruction pointer, or without a base: the former where there is no SIB byte.
            base = None;
        }
        let displacement = match (mode, base) {
            // SAFETY: these forms have a displacement of one or four bytes.
            (1, _) => i64::from(unsafe { self.byte() }.cast_signed()),
            (2, _) | (0, None) => {
                // SAFETY: as above.
                let bytes = [0; 4].map(|_: u8| unsafe { self.byte() });
                i64::from(i32::from_le_bytes(bytes))
            }
            (0, _) => 0,
            _ => return None,
        };
        let start = match base {
            Some(base) => self.register(base),
            None if rm == 4 => 0,
            None => self.registers[libc::REG_RIP as usize] as usize + self.length,
        };
        let stride = index.map_or(0, |index| self.register(index)) << scale;
        Some((start.wrapping_add_signed(displacement as isize), stride))
    }
}

/// Carries out one instruction; nothing where it is none of a tile or would be an exception.
///
/// # Safety
/// `code` must be at an instruction, whose memory operands can be accessed as it does.
unsafe fn execute(code: &mut Code<'_>, tiles: &mut Tiles) -> Option<()> {
    let mut bytes = [0; 5];
    for byte in &mut bytes {
        // SAFETY: all of these have a VEX prefix of three bytes, an opcode and a ModR/M byte; an instruction that the CPU does
        // not know has as many bytes after it in the code of a process.
        *byte = unsafe { code.byte() };
    }
    let [prefix, first, second, opcode, modrm] = bytes;
    let (w, vvvv, l, pp) = (second >> 7, !(second >> 3) & 15, second >> 2 & 1, second & 3);
    if prefix != 0xc4 || first & 31 != 2 || w != 0 || l != 0 || first >> 7 == 0 {
        return None;
    }
    // The upper bits of registers' numbers are stored inverted.
    let upper = [!(first >> 6) & 1, !(first >> 5) & 1];
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
    match (opcode, pp, mode == 3) {
        // SAFETY: the operands are those of the instruction, which the caller answers for.
        (0x49, 0, false) if reg == 0 => unsafe {
            let (from, _) = code.address(modrm, upper)?;
            configure(tiles, from as *const [u8; 64])?;
            CONFIGURED.fetch_add(1, Ordering::Relaxed);
        },
        (0x49, 0, true) if modrm == 0xc0 => {
            *tiles = Tiles {
                sizes: None,
                data: [[[0; 16]; 16]; 8],
            };
            RELEASED.fetch_add(1, Ordering::Relaxed);
        }
        (0x49, 3, true) if rm == 0 => {
            tiles.sizes?;
            tiles.data[reg] = [[0; 16]; 16];
        }
        // SAFETY: as above.
        (0x4b, 2 | 3, false) if rm == 4 => unsafe {
            let (rows, bytes) = tiles.sizes?[reg];
            let (start, stride) = code.address(modrm, upper)?;
            if pp == 3 {
                tiles.data[reg] = [[0; 16]; 16];
                LOADED.fetch_add(1, Ordering::Relaxed);
            } else {
                STORED.fetch_add(1, Ordering::Relaxed);
            }
            for (i, row) in tiles.data[reg].iter_mut().take(rows).enumerate() {
                let memory = start.wrapping_add(i.wrapping_mul(stride)) as *mut u8;
                match pp {
                    3 => std::ptr::copy_nonoverlapping(memory, row.as_mut_ptr().cast(), bytes),
                    _ => std::ptr::copy_nonoverlapping(row.as_ptr().cast(), memory, bytes),
                }
            }
        },
        (0x5c, 2, true) => {
            let (c, a, b) = (reg, rm, usize::from(vvvv & 7));
            multiply(tiles, c, a, b)?;
            MULTIPLIED.fetch_add(1, Ordering::Relaxed);
            MULTIPLIED_HERE.set(MULTIPLIED_HERE.get() + 1);
        }
        _ => return None,
    }
    Some(())
}

/// `LDTILECFG`: palette 1, reserved bytes zero, no tile too large.
///
/// # Safety
/// `from` must be readable.
unsafe fn configure(tiles: &mut Tiles, from: *const [u8; 64]) -> Option<()> {
    // SAFETY: the caller's.
    let bytes = unsafe { from.read_unaligned() };
    let reserved = bytes[2..16].iter().chain(&bytes[32..48]).chain(&bytes[56..]);
    if bytes[0] != 1 || bytes[1] != 0 || reserved.into_iter().any(|byte| *byte != 0) {
        return None;
    }
    let sizes: [(usize, usize); 8] = std::array::from_fn(|t| {
        let row_bytes = u16::from_le_bytes([bytes[16 + 2 * t], bytes[17 + 2 * t]]);
        (usize::from(bytes[48 + t]), usize::from(row_bytes))
    });
    if sizes
        .iter()
        .any(|&(rows, bytes)| rows > 16 || bytes > 64 || (rows == 0) != (bytes == 0))
    {
        return None;
    }
    *tiles = Tiles {
        sizes: Some(sizes),
        data: [[[0; 16]; 16]; 8],
    };
    Some(())
}

fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

/// `TDPBF16PS`: denormals are zero, as operands and as results; even and odd products are summed apart.
fn multiply(tiles: &mut Tiles, c: usize, a: usize, b: usize) -> Option<()> {
    let sizes = tiles.sizes?;
    let ((rows, columns), (a_rows, pairs), (b_rows, b_columns)) = (sizes[c], sizes[a], sizes[b]);
    // The manual's conditions; equal numbers of tiles are an exception as well.
    let fits = rows == a_rows && columns == b_columns && pairs / 4 == b_rows;
    if !fits || c == a || a == b || b == c || columns % 4 != 0 || pairs % 4 != 0 {
        return None;
    }
    let (left, right) = (tiles.data[a], tiles.data[b]);
    for (row, left) in tiles.data[c].iter_mut().zip(left).take(rows) {
        for (n, sum) in row.iter_mut().enumerate().take(columns / 4) {
            let half = |word: u32, upper: bool| {
                flushed(f32::from_bits(if upper {
                    word & 0xffff_0000
                } else {
                    word << 16
                }))
            };
            let mut sums = [0.0_f32; 2];
            for (x, y) in left.iter().zip(right).take(pairs / 4) {
                sums[0] = flushed(half(*x, false).mul_add(half(y[n], false), sums[0]));
                sums[1] = flushed(half(*x, true).mul_add(half(y[n], true), sums[1]));
            }
            let product = flushed(sums[0] + sums[1]);
            *sum = flushed(flushed(f32::from_bits(*sum)) + product).to_bits();
        }
    }
    Some(())
}
