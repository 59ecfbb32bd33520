//! Random models: the first texts that the compiler's own tests draw (`macros/src/oracle/source`). They are not edited by hand:
//! `cargo test -p tapeless_macros write_the_random_models -- --ignored` writes this file and the numbers in `expected`.

pub mod seed_00 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(p = 0.25)]
        drop0: Dropout,
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.drop0(x);
            let mixed = concat((hidden, x), axis = 2);
            let (next, inner) = (mixed.silu(), mixed * 0.5);
            let inner = self.fc0(inner);
            x + inner
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        fc0: Linear<D, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.cumsum(axis = 1);
            let hidden = self.fc0(hidden).relu();
            let mut mixed = x;
            mixed += 0.5 * hidden;
            mixed
        }
    }

    #[model]
    pub struct Net {
        fc0: Linear<_, 3>,
        fc1: Linear<4, 5>,
        head0: Linear<5, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.fc0(x);
            let x = (x * 1.5 + 0.1).sigmoid();
            let mixed = x.max(axis = 1);
            let next = self.fc1(mixed).relu();
            next
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<i64, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            let hot = label.one_hot(5);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            each.mean()
        }

        pub fn accuracy<B: Dim, T: Dim>(
            &self,
            x: Tensor<B, T, 4>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let best = self.scores(x, rate).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_01 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.01)]
        norm0: LayerNorm<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.norm0(x);
            let mixed = hidden + 0.5 * hidden.flip(axis = 2);
            mixed
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        act0: LeakyRelu,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.act0(x);
            let mixed = x + 0.5 * x.flip(axis = 1);
            mixed
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 3>,
        fc0: Linear<_, 3>,
        cell0: Linear<3, 3>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, 3>,
        fc1: Linear<4, WIDTH>,
        #[layer(init = ones)]
        scale0: Param<WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = self.fc0(hidden).relu();
            let mut next = hidden.mean(axis = 1);
            let mut inner = Steps::new();
            for x_t in hidden.steps(axis = 1).rev() {
                next = (x_t + self.cell0(next)).tanh();
                inner.push(next);
            }
            let hidden = inner.stack(axis = 1);
            let state = (hidden * 1.5 + 0.1).elu();
            let state = (state * state.softmax(axis = 1)).sum(axis = 1);
            let part = einsum("bi,oi->bo", state, self.core0);
            let hidden2 = self.fc1(part).tanh();
            hidden2
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(tokens, rate);
            let mixed = hidden - self.scale0;
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<u8, B>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            let log = scores.log_softmax(axis = 1);
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean()
        }

        pub fn accuracy<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let best = self.scores(tokens, rate).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_02 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.1)]
        norm0: LayerNorm<D>,
        fc0: Linear<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.silu();
            x.gelu() * gate
        }

        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = Self::bend2(x);
            let hidden = concat((hidden, x), axis = 1);
            let x = self.norm0(x);
            let mixed = self.fc0(x);
            mixed
        }
    }

    #[model]
    pub struct Net {
        fc0: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, WIDTH> {
            let hidden = x.cumsum(axis = 1);
            let hidden = hidden + 0.5 * hidden.flip(axis = 1);
            let hidden = self.fc0(hidden);
            hidden
        }

        pub fn scores<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
            let hidden = self.features(x);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, x: Tensor<B, 5>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(x);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label, ignore_index = 1) + 0.01 * decay
        }

        pub fn accuracy<B: Dim>(&self, x: Tensor<B, 5>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(x).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_03 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        tower0: [Linear<D, D>; 1],
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let mut hidden = x;
            for layer in &self.tower0 {
                hidden = hidden + layer(hidden).tanh();
            }
            hidden
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, dilation = 2)]
        conv0: Conv2d<_, 2, 1>,
        block0: Inner<3>,
        fc0: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 1, 6, 6>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image).sigmoid();
            let hidden = hidden.avg_pool2d(3, stride = 1);
            let hidden = hidden.adaptive_avg_pool2d((2, 1)).flatten();
            let hidden = hidden.slice(.., 0..3);
            let mixed = self.block0(hidden);
            let next = self.fc0(mixed).tanh();
            next
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 1, 6, 6>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(image, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 6, 6>, target: Tensor<B, 6>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            let decay = self.fc0.weight.square().sum();
            bce_with_logits(scores, target.sigmoid()) + 0.01 * decay
        }

        pub fn accuracy<B: Dim>(
            &self,
            image: Tensor<B, 1, 6, 6>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let best = self.scores(image, rate).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_04 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.tanh();
            x + hidden
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {}

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.mean(axis = 1, keepdim = true);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, padding = 1, dilation = 2, groups = 2)]
        conv0: Conv2d<2, 2, 1>,
        fc0: Linear<2, 5>,
        fc1: Linear<2, 5>,
        head0: Linear<5, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 7, 5>) -> Tensor<B, 5> {
            let hidden = self.conv0(image);
            let mixed = hidden.silu();
            let next = mixed.global_avg_pool2d();
            let inner = self.fc0(next).relu();
            let next = next + 0.5 * next.flip(axis = 1);
            let state = self.fc1(next).relu();
            state
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 2, 7, 5>) -> Tensor<B, 6> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 7, 5>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(image);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label, ignore_index = 1) + 0.01 * decay
        }
    }
}

pub mod seed_05 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        act0: Tanh,
        tower0: [Linear<D, D>; 1],
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.log_softmax(axis = 2);
            let hidden = self.act0(hidden);
            let mut mixed = hidden;
            for layer in &self.tower0 {
                mixed = mixed + layer(mixed).tanh();
            }
            mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        act0: Relu,
        #[layer(eps = 0.01)]
        norm0: LayerNorm<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.act0(x);
            let mixed = self.norm0(hidden);
            let next = mixed - mixed.mean(axis = 0, keepdim = true);
            next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 4>,
        block0: Inner<4>,
        fc0: Linear<4, 3>,
        fc1: Linear<3, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 3> {
            let hidden = self.table0(tokens);
            let mixed = hidden + self.block0(hidden);
            let next = select(hidden > mixed, hidden, 0.5 * mixed);
            let inner = next.maximum(hidden);
            let state = inner.max(axis = 1);
            let state = self.fc0(state).relu();
            state
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(tokens, rate);
            let mixed = self.fc1(hidden).relu();
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            target: Tensor<B, 5>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            let decay = self.fc0.weight.square().sum();
            mse(scores, target) + 0.01 * decay
        }
    }
}

pub mod seed_06 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.sigmoid();
            x.mish() * gate
        }

        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = Self::bend2(x);
            let x = x + hidden;
            let x = self.fc0(x).relu();
            x
        }
    }

    #[model]
    pub struct Net {
        #[layer(padding = 1, dilation = 2)]
        conv0: Conv2d<3, 1, 2>,
        pool0: AvgPool2d<2>,
        #[layer(padding = 1)]
        conv1: Conv2d<_, 2, 3>,
        #[layer(eps = 0.1)]
        bn0: BatchNorm1d<2>,
        #[layer(bias = false)]
        fc0: Linear<_, 4>,
        fc1: Linear<_, 4>,
        fc2: Linear<_, 4>,
        head0: Linear<4, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 3, 6, 6>) -> Tensor<B, 4> {
            let hidden = self.conv0(image);
            let mixed = self.pool0(hidden);
            let next = self.conv1(mixed).sigmoid();
            let inner = next.global_avg_pool2d();
            let state = self.bn0(inner);
            let part = self.fc0(inner);
            let hidden2 = self.fc1(state).tanh();
            let mixed2 = self.fc2(hidden2).tanh();
            mixed2
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 3, 6, 6>) -> Tensor<B, 6> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 6, 6>, target: Tensor<B, 6>) -> Scalar {
            let scores = self.scores(image);
            mse(scores, target)
        }
    }
}

pub mod seed_07 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        tower0: [Linear<D, D>; 3],
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let mut hidden = x;
            for (k, layer) in self.tower0.iter().enumerate() {
                hidden = layer(hidden).sin() + 0.1 * k;
            }
            hidden
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = 0);
            let hidden = x - self.seen0;
            let mut mixed = hidden;
            mixed += 0.5 * x;
            mixed
        }
    }

    #[model]
    pub struct Net {
        block0: Outer<3, 4>,
        fc0: Linear<3, WIDTH>,
        block1: Outer<WIDTH, 3>,
        act0: Sigmoid,
        #[recompute]
        tower0: [Linear<WIDTH, WIDTH>; 1],
        fc1: Linear<_, WIDTH>,
        #[layer(bias = false)]
        fc2: Linear<WIDTH, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, x: Tensor<B, 3>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.block0(self.block0(x));
            let hidden = self.fc0(hidden).tanh();
            let hidden = self.block1(hidden);
            let mixed = self.act0(hidden);
            let mut next = mixed;
            for layer in &self.tower0 {
                next = layer(next);
            }
            let inner = self.fc1(next).relu();
            inner
        }

        pub fn scores<B: Dim>(&self, x: Tensor<B, 3>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(x, rate);
            let mixed = self.fc2(hidden).tanh();
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, x: Tensor<B, 3>, label: Tensor<i64, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }
    }
}

pub mod seed_08 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = 0);
            let hidden = x - self.seen0;
            let hidden = hidden.maximum(x);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, dilation = 2)]
        conv0: Conv2d<3, 1, 1>,
        #[layer(eps = 0.1, affine = false)]
        bn0: BatchNorm2d<1>,
        #[layer(eps = 0.1, affine = false)]
        bn1: BatchNorm2d<1>,
        act0: Tanh,
        seen0: State<1>,
        fc0: Linear<1, 5>,
        head0: Linear<5, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.conv0(image).relu();
            let mixed = self.bn0(hidden);
            let next = self.bn1(hidden);
            let next = next.mean(axis = (2, 3));
            let inner = self.act0(next);
            self.seen0 = self.seen0 * 0.75 + 0.25 * inner.mean(axis = 0);
            let inner = inner + self.seen0;
            let mut state = inner;
            state += 0.5 * next;
            let state = self.fc0(state).relu();
            state
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(image, rate);
            let mixed = hidden.cumsum(axis = 1);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }

        pub fn inspect<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, rate: f32) -> (Tensor<B, 5>, Tensor<B, 5>) {
            let features = self.features(image, rate);
            (features, self.scores(image, rate))
        }
    }
}

pub mod seed_09 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x + 0.5 * x.flip(axis = 2);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        #[freeze]
        block0: Inner<4>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<4, 3>,
        fc0: Linear<_, WIDTH>,
        fc1: Linear<WIDTH, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = x + self.block0(x);
            let mixed = hidden.matmul(self.weight0);
            let next = mixed.max(axis = 1);
            let next = self.fc0(next).relu();
            next
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            let mixed = self.fc1(hidden).tanh();
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            cross_entropy(scores, label, ignore_index = 1)
        }
    }
}

pub mod seed_10 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        act0: Sigmoid,
        tower0: [Linear<D, D>; 2],
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.act0(x);
            let mut mixed = hidden;
            mixed += 0.5 * x;
            let mut next = mixed;
            for layer in &self.tower0 {
                next = next + layer(next).tanh();
            }
            next
        }
    }

    #[model]
    pub struct Net {
        conv0: Conv2d<_, 2, 1>,
        #[layer(stride = 2, padding = 1, bias = false)]
        conv1: Conv2d<_, 2, 1>,
        block0: Inner<40>,
        fc0: Linear<40, 3>,
        block1: Inner<3>,
        #[layer(bias = false)]
        fc1: Linear<3, 5>,
        head0: Linear<5, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.conv0(image).sigmoid();
            let mixed = self.conv1(hidden).relu();
            let next = mixed.flatten();
            let (inner, state) = (next.sigmoid(), next * 0.5);
            let part = inner + 0.5 * inner.flip(axis = 1);
            let hidden2 = self.block0(part);
            let hidden2 = self.fc0(hidden2);
            let mixed2 = self.block1(self.block1(hidden2));
            let next2 = self.fc1(mixed2).tanh();
            next2
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(image, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 6, 7>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            let log = scores.log_softmax(axis = 1);
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean()
        }
    }
}

pub mod seed_11 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, D>,
        fc0: Linear<4, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = einsum("bti,oi->bto", x, self.core0);
            let hidden = hidden.dropout(0.25);
            let hidden = self.fc0(hidden).tanh();
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 4>,
        cell0: Linear<4, 4>,
        seen0: State<4>,
        #[layer(bias = false)]
        fc0: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mut mixed = hidden.mean(axis = 1);
            let mut next = Steps::new();
            for x_t in hidden.steps(axis = 1) {
                mixed = (x_t + self.cell0(mixed)).tanh();
                next.push(mixed);
            }
            let inner = next.stack(axis = 1);
            let inner = inner.cumsum(axis = 1);
            let inner = inner.sum(axis = 1);
            self.seen0 = self.seen0 * 0.75 + 0.25 * inner.mean(axis = 0);
            let state = inner - self.seen0;
            let part = self.fc0(state);
            part
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(tokens, rate);
            let mixed = select(hidden < 0.1, hidden.exp(), 1.1 + hidden);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            target: Tensor<B, 6>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            bce_with_logits(scores, target.sigmoid())
        }
    }
}

pub mod seed_12 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        act0: Softplus,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.act0(x);
            let hidden = hidden - hidden.mean(axis = 0, keepdim = true);
            let mixed = hidden.silu();
            x + mixed
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        tower0: [Linear<D, D>; 3],
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, { 2 * D }>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.sigmoid();
            x.relu() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let mut hidden = x;
            for layer in self.tower0.iter().rev() {
                hidden = layer(hidden);
            }
            let x = x.matmul(self.weight0);
            let hidden = Self::bend2(hidden);
            hidden
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 4>,
        block0: Inner<4>,
        block1: Side<4>,
        fc0: Linear<4, 4>,
        #[freeze]
        block2: Side<4>,
        fc1: Linear<4, WIDTH>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden - hidden.min(axis = 2, keepdim = true);
            let next = self.block0(mixed);
            let inner = (next * next.softmax(axis = 1)).sum(axis = 1);
            let state = self.block1(inner);
            let part = self.fc0(state);
            let hidden2 = self.block2(part);
            let mixed2 = self.fc1(hidden2).tanh();
            mixed2
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            let mixed = hidden.matmul(self.fc1.weight);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(tokens);
            mse(scores, target)
        }

        pub fn inspect<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> (Tensor<B, WIDTH>, Tensor<B, 5>) {
            let features = self.features(tokens);
            (features, self.scores(tokens))
        }
    }
}

pub mod seed_13 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = (x * 1.5 + 0.1).mish();
            let mixed = einsum("bti,oi->bto", hidden, self.core0);
            x + mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(p = 0.25)]
        drop0: Dropout,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<3, 4>,
        block0: Inner<3>,
        fc0: Linear<3, 3>,
        fc1: Linear<3, 3>,
        #[layer(bias = false)]
        fc2: Linear<_, 3>,
        head0: Linear<3, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 3> {
            let hidden = self.drop0(x);
            let mixed = einsum("bti,oi->bto", hidden, self.core0);
            let next = self.block0(mixed);
            let inner = self.fc0(next).relu();
            let state = inner + self.block0(inner);
            let state = state.sum(axis = 1);
            let part = self.fc1(state).tanh();
            let part = self.fc2(part).relu();
            part
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(x, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<i64, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            let hot = label.one_hot(6);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            let decay = self.fc0.weight.square().sum();
            each.mean() + 0.01 * decay
        }
    }
}

pub mod seed_14 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let (hidden, mixed) = (x.tanh(), x * 0.5);
            x + mixed
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<D, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = einsum("bi,oi->bo", x, self.core0);
            hidden
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 4>,
        block0: Inner<4>,
        #[layer(bias = false)]
        fc0: Linear<4, 4>,
        fc1: Linear<_, 5>,
        tower0: [Linear<5, 5>; 2],
        head0: Linear<5, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.table0(tokens);
            let mixed = hidden + self.block0(hidden);
            let next = self.fc0(mixed).relu();
            let next = self.block0(next);
            let mixed = mixed + next;
            let inner = mixed.sum(axis = 1);
            let state = inner + 0.5 * inner.flip(axis = 1);
            let part = self.fc1(state).tanh();
            part
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(tokens, rate);
            let mut mixed = hidden;
            for layer in self.tower0.iter().rev() {
                mixed = layer(mixed);
            }
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            target: Tensor<B, 6>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            let decay = self.fc0.weight.square().sum();
            bce_with_logits(scores, target.sigmoid()) + 0.01 * decay
        }

        pub fn accuracy<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let best = self.scores(tokens, rate).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_15 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        seen0: State<D>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, { 2 * D }>,
        #[layer(bias = false)]
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = 0);
            let hidden = x - self.seen0;
            let hidden = hidden.matmul(self.weight0);
            let mixed = self.fc0(hidden).tanh();
            mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(bias = false)]
        conv0: Conv2d<_, 2, 3>,
        conv1: Conv2d<2, 1, 3>,
        #[freeze]
        block0: Inner<1>,
        fc0: Linear<1, 4>,
        block1: Inner<4>,
        fc1: Linear<_, 4>,
        block2: Inner<4>,
        fc2: Linear<_, WIDTH>,
        #[layer(bias = false)]
        fc3: Linear<WIDTH, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 5, 5>) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image).relu();
            let hidden = self.conv1(hidden).relu();
            let mixed = hidden.dropout2d(0.25);
            let next = mixed.mean(axis = (2, 3));
            let inner = self.block0(next);
            let inner = self.fc0(inner).tanh();
            let inner = self.block1(inner);
            let state = self.block1(inner);
            let part = self.fc1(state).relu();
            let hidden2 = part + self.block2(part);
            let mixed2 = self.fc2(hidden2).relu();
            let next2 = self.fc3(mixed2).relu();
            next2
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 2, 5, 5>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 5, 5>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(image);
            mse(scores, target)
        }

        pub fn accuracy<B: Dim>(&self, image: Tensor<B, 2, 5, 5>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(image).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_16 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        cell0: Linear<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let mut hidden = x.mean(axis = 1);
            let mut mixed = Steps::new();
            for x_t in x.steps(axis = 1).rev() {
                hidden = (x_t + self.cell0(hidden)).tanh();
                mixed.push(hidden);
            }
            let next = mixed.stack(axis = 1);
            let next = select(next > x, next, 0.5 * x);
            next
        }
    }

    #[model]
    pub struct Net {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<3, 3>,
        fc0: Linear<3, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = select(x < 0.1, x.exp(), 1.1 + x);
            let mixed = hidden + 0.5 * hidden.flip(axis = 2);
            let mixed = mixed.mean(axis = 1);
            let next = mixed.matmul(self.weight0);
            let inner = self.fc0(next);
            inner
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            let mixed = hidden.cumsum(axis = 1);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, label: Tensor<i64, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }
    }
}

pub mod seed_17 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x - x.mean(axis = 2, keepdim = true);
            x + hidden
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        cell0: Linear<D, D>,
        fc0: Linear<_, { 2 * D }>,
        #[layer(bias = false)]
        fc1: Linear<_, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let mut hidden = x.mean(axis = 1);
            let mut mixed = Steps::new();
            for x_t in x.steps(axis = 1).rev() {
                hidden = (x_t + self.cell0(hidden)).tanh();
                mixed.push(hidden);
            }
            let next = mixed.stack(axis = 1);
            let next = next - next.max(axis = 2, keepdim = true);
            let next = self.fc0(next);
            let next = self.fc1(next);
            next
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(init = ones)]
        scale0: Param<D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let (hidden, mixed) = (x.sin(), x * 0.5);
            let mixed = mixed - self.scale0;
            x + mixed
        }
    }

    #[model]
    pub struct Net {
        block0: Outer<4, WIDTH>,
        fc0: Linear<4, WIDTH>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn0: BatchNorm1d<WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>) -> Tensor<B, WIDTH> {
            let hidden = x.cumsum(axis = 1);
            let mixed = self.block0(hidden);
            let next = mixed.sum(axis = 1);
            let inner = next - next.min(axis = 0, keepdim = true);
            let inner = self.fc0(inner).relu();
            inner
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>) -> Tensor<B, 6> {
            let hidden = self.features(x);
            let mixed = self.bn0(hidden);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(x);
            let hot = label.one_hot(6);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            let decay = self.fc0.weight.square().sum();
            each.mean() + 0.01 * decay
        }
    }
}

pub mod seed_18 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        cell0: Linear<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.silu();
            x.gelu() * gate
        }

        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let mut hidden = x.mean(axis = 1);
            let mut mixed = Steps::new();
            for x_t in x.steps(axis = 1) {
                hidden = (x_t + self.cell0(hidden)).tanh();
                mixed.push(hidden);
            }
            let x = mixed.stack(axis = 1);
            let next = Self::bend3(x);
            x + next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 3>,
        #[layer(init = ones)]
        scale0: Param<3>,
        #[layer(init = ones)]
        scale1: Param<3>,
        #[layer(eps = 0.01)]
        norm0: LayerNorm<3>,
        #[layer(bias = false)]
        fc0: Linear<3, 4>,
        head0: Linear<4, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 4> {
            let hidden = self.table0(tokens);
            let mixed = hidden * self.scale0;
            let mixed = mixed * self.scale1;
            let next = mixed + hidden;
            let next = next.sum(axis = 1);
            let inner = self.norm0(next);
            let inner = self.fc0(inner);
            inner
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 6> {
            let hidden = self.features(tokens);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(tokens);
            cross_entropy(scores, label, ignore_index = 1)
        }

        pub fn accuracy<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(tokens).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_19 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        tower0: [Linear<D, D>; 3],
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let mut hidden = x;
            for (k, layer) in self.tower0.iter().enumerate() {
                hidden = layer(hidden).sin() + 0.1 * k;
            }
            let mixed = einsum("bti,oi->bto", hidden, self.core0);
            let mixed = mixed.softmax(axis = 2);
            mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
        fc0: Linear<D, H>,
        block1: Inner<H>,
        #[freeze]
        block2: Inner<H>,
        #[layer(bias = false)]
        fc1: Linear<H, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.mish();
            x.elu() * gate
        }

        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = Self::bend3(x);
            let mixed = hidden + self.block0(hidden);
            let mixed = self.fc0(mixed).tanh();
            let next = self.block1(mixed);
            let inner = self.block2(next);
            let inner = self.fc1(inner).tanh();
            inner
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, { 2 * D }>,
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.matmul(self.weight0);
            let mixed = (hidden * 1.5 + 0.1).softplus();
            let next = self.fc0(mixed).relu();
            next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 5>,
        cell0: Linear<5, 5>,
        #[layer(bias = false)]
        fc0: Linear<5, 5>,
        block0: Side<5>,
        head0: Linear<5, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.table0(tokens);
            let mixed = hidden - hidden.min(axis = 0, keepdim = true);
            let mut next = hidden.mean(axis = 1);
            let mut inner = Steps::new();
            for x_t in hidden.steps(axis = 1) {
                next = (x_t + self.cell0(next)).sin();
                inner.push(next);
            }
            let state = inner.stack(axis = 1);
            let state = state.sum(axis = 1);
            let state = self.fc0(state).relu();
            state
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            let mixed = self.block0(hidden);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(tokens);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label, label_smoothing = 0.1) + 0.01 * decay
        }
    }
}
