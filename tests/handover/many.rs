//! As many types in one model as rustc's default recursion limit has to serve.

use ndarray::{Array2, array};
use tapeless::prelude::*;

macro_rules! models {
    ($($name:ident)*) => {$(
        #[model]
        struct $name {
            #[layer(init = ones)]
            by: Param<1>,
        }

        #[model]
        impl $name {
            pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
                x + self.by
            }
        }
    )*};
}
models! {
    M00 M01 M02 M03 M04 M05 M06 M07 M08 M09
    M10 M11 M12 M13 M14 M15 M16 M17 M18 M19
    M20 M21 M22 M23 M24 M25 M26 M27 M28 M29
    M30 M31 M32 M33 M34 M35 M36 M37 M38 M39
    M40 M41 M42 M43 M44 M45 M46 M47 M48 M49
    M50 M51 M52 M53 M54 M55 M56 M57 M58 M59
}

#[model]
struct Sixty {
    m00: M00,
    m01: M01,
    m02: M02,
    m03: M03,
    m04: M04,
    m05: M05,
    m06: M06,
    m07: M07,
    m08: M08,
    m09: M09,
    m10: M10,
    m11: M11,
    m12: M12,
    m13: M13,
    m14: M14,
    m15: M15,
    m16: M16,
    m17: M17,
    m18: M18,
    m19: M19,
    m20: M20,
    m21: M21,
    m22: M22,
    m23: M23,
    m24: M24,
    m25: M25,
    m26: M26,
    m27: M27,
    m28: M28,
    m29: M29,
    m30: M30,
    m31: M31,
    m32: M32,
    m33: M33,
    m34: M34,
    m35: M35,
    m36: M36,
    m37: M37,
    m38: M38,
    m39: M39,
    m40: M40,
    m41: M41,
    m42: M42,
    m43: M43,
    m44: M44,
    m45: M45,
    m46: M46,
    m47: M47,
    m48: M48,
    m49: M49,
    m50: M50,
    m51: M51,
    m52: M52,
    m53: M53,
    m54: M54,
    m55: M55,
    m56: M56,
    m57: M57,
    m58: M58,
    m59: M59,
}

#[model]
impl Sixty {
    pub fn forward<B: Dim>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let x = self.m00(x);
        let x = self.m01(x);
        let x = self.m02(x);
        let x = self.m03(x);
        let x = self.m04(x);
        let x = self.m05(x);
        let x = self.m06(x);
        let x = self.m07(x);
        let x = self.m08(x);
        let x = self.m09(x);
        let x = self.m10(x);
        let x = self.m11(x);
        let x = self.m12(x);
        let x = self.m13(x);
        let x = self.m14(x);
        let x = self.m15(x);
        let x = self.m16(x);
        let x = self.m17(x);
        let x = self.m18(x);
        let x = self.m19(x);
        let x = self.m20(x);
        let x = self.m21(x);
        let x = self.m22(x);
        let x = self.m23(x);
        let x = self.m24(x);
        let x = self.m25(x);
        let x = self.m26(x);
        let x = self.m27(x);
        let x = self.m28(x);
        let x = self.m29(x);
        let x = self.m30(x);
        let x = self.m31(x);
        let x = self.m32(x);
        let x = self.m33(x);
        let x = self.m34(x);
        let x = self.m35(x);
        let x = self.m36(x);
        let x = self.m37(x);
        let x = self.m38(x);
        let x = self.m39(x);
        let x = self.m40(x);
        let x = self.m41(x);
        let x = self.m42(x);
        let x = self.m43(x);
        let x = self.m44(x);
        let x = self.m45(x);
        let x = self.m46(x);
        let x = self.m47(x);
        let x = self.m48(x);
        let x = self.m49(x);
        let x = self.m50(x);
        let x = self.m51(x);
        let x = self.m52(x);
        let x = self.m53(x);
        let x = self.m54(x);
        let x = self.m55(x);
        let x = self.m56(x);
        let x = self.m57(x);
        let x = self.m58(x);
        let x = self.m59(x);
        x
    }
}

#[test]
fn sixty_types_are_layers_of_one_model() -> tapeless::Result<()> {
    let model = Sixty::new(&Device::cpu(), 0)?;
    assert_eq!(
        model.forward(&Array2::<f32>::zeros((1, 2)))?,
        array![[60.0, 60.0]]
    );
    Ok(())
}
