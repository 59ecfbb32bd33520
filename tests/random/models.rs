//! Random models: the first texts that the compiler's own tests draw (`macros/src/oracle/source`). They are not edited by hand:
//! `cargo test -p tapeless_macros write_the_random_models -- --ignored` writes this file and the numbers in `expected`.

pub mod seed_00 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.dropout(0.25);
            let mixed = hidden.matmul(x.permute(0, 2, 1));
            let next = mixed.softmax(axis = 2).matmul(x);
            let inner = next.softmax(axis = 2);
            let state = inner + 0.5 * inner.flip(axis = 2);
            state
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(init = ones)]
        scale0: Param<D>,
        block0: Inner<D>,
        #[layer(bias = false)]
        fc0: Linear<_, H>,
        block1: Inner<H>,
        fc1: Linear<H, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x * self.scale0;
            let mixed = hidden + self.block0(hidden);
            let next = self.fc0(mixed).tanh();
            let inner = self.block1(self.block1(next));
            let inner = self.fc1(inner).relu();
            inner
        }
    }

    #[model]
    pub struct Net {
        #[layer(bias = false)]
        fc0: Linear<_, 3>,
        #[freeze]
        block0: Outer<3, 3>,
        fc1: Linear<3, 4>,
        block1: Inner<4>,
        #[layer(init = ones)]
        scale0: Param<4>,
        fc2: Linear<_, 3>,
        #[layer(eps = 0.01)]
        norm0: RmsNorm<3>,
        #[layer(bias = false)]
        fc3: Linear<_, 3>,
        head0: Linear<3, 5>,
    }

    #[model]
    impl Net {
        pub fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>) -> Tensor<B, 3> {
            let hidden = self.fc0(x);
            let hidden = hidden.tanh();
            let mixed = self.block0(self.block0(hidden));
            let mixed = self.fc1(mixed);
            let next = self.block1(self.block1(mixed));
            let inner = next - self.scale0;
            let state = next.matmul(self.fc1.weight);
            let state = state.mean(axis = 1);
            let state = self.fc2(state).tanh();
            let part = self.norm0(state);
            let hidden2 = self.fc3(part).relu();
            hidden2
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>) -> Tensor<B, 5> {
            let hidden = self.features(x);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(x);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }

        pub fn accuracy<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(x).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_01 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, D>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<4, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = (x * 1.5 + 0.1).mish();
            let mixed = einsum("bti,oi->bto", hidden, self.core0);
            let next = mixed.matmul(self.weight0);
            x + next
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        seen0: State<D>,
        block0: Inner<D>,
        block1: Inner<D>,
        #[layer(bias = false)]
        fc0: Linear<D, { 2 * D }>,
        #[freeze]
        block2: Inner<{ 2 * D }>,
        seen1: State<{ 2 * D }>,
        fc1: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = (0, 1));
            let hidden = x - self.seen0;
            let hidden = self.block0(self.block0(hidden));
            let hidden = hidden + self.block1(hidden);
            let mixed = self.fc0(hidden).relu();
            let next = mixed + self.block2(mixed);
            self.seen1 = self.seen1 * 0.75 + 0.25 * next.mean(axis = (0, 1));
            let inner = next - self.seen1;
            let inner = self.fc1(inner).relu();
            inner
        }
    }

    #[model]
    pub struct Side<const D: usize> {}

    #[model]
    impl<const D: usize> Side<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.elu();
            x.silu() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = Self::bend2(x);
            let mixed = hidden / (1.0 + x.square());
            let next = mixed.softmax(axis = 1);
            let next = select(next > x, next, 0.5 * x);
            let mixed = Self::bend2(mixed);
            mixed
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 3>,
        block0: Outer<3, 3>,
        block1: Side<3>,
        fc0: Linear<3, 3>,
        block2: Side<3>,
        fc1: Linear<_, 5>,
        seen0: State<5>,
        head0: Linear<5, 5>,
    }

    #[model]
    impl Net {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.mish();
            x.elu() * gate
        }

        pub fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.table0(tokens);
            let mixed = self.block0(self.block0(hidden));
            let mut next = mixed;
            next += 0.5 * hidden;
            let next = next - 0.5 * mixed;
            let next = next + hidden;
            let mixed = Self::bend3(mixed);
            let inner = (mixed * mixed.softmax(axis = 1)).sum(axis = 1);
            let inner = inner + self.block1(inner);
            let inner = self.fc0(inner).tanh();
            let state = self.block2(self.block2(inner));
            let part = (state * 1.5 + 0.1).tanh();
            let hidden2 = self.fc1(part).tanh();
            hidden2
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            self.seen0 = self.seen0 * 0.75 + 0.25 * hidden.mean(axis = 0);
            let mixed = hidden - self.seen0;
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(tokens);
            let log = scores.log_softmax(axis = 1);
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean()
        }

        pub fn accuracy<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(tokens).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_02 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<D, 4>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = (x * 1.5 + 0.1).softplus();
            let mixed = self.fc0(x).relu();
            let hidden = hidden + hidden.tanh();
            let next = hidden + x;
            next
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
        #[layer(eps = 0.1)]
        bn0: BatchNorm1d<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.elu();
            x.sigmoid() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = Self::bend2(x);
            let mixed = self.block0(self.block0(hidden));
            let hidden = self.bn0(hidden);
            let next = Self::bend2(hidden);
            x + next
        }
    }

    #[model]
    pub struct Net {
        fc0: Linear<3, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, x: Tensor<B, 3>, rate: f32) -> Tensor<B, WIDTH> {
            let (hidden, mixed) = (x.mish(), x * 0.5);
            let next = hidden + x;
            let inner = mixed - 0.5 * hidden;
            let state = next + next.sigmoid();
            let part = self.fc0(state).relu();
            part
        }

        pub fn scores<B: Dim>(&self, x: Tensor<B, 3>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, x: Tensor<B, 3>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            cross_entropy(scores, label)
        }
    }
}

pub mod seed_03 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.softplus();
            x.tanh() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.mean(axis = 0, keepdim = true);
            let mixed = Self::bend2(hidden);
            mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(eps = 0.1)]
        norm0: LayerNorm<D>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, H>,
        #[layer(bias = false)]
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.norm0(x);
            let mixed = hidden.matmul(self.weight0);
            let next = self.fc0(mixed).relu();
            x + next
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, padding = 1)]
        conv0: Conv2d<1, 1, 3>,
        #[layer(eps = 0.1)]
        bn0: BatchNorm2d<1>,
        #[layer(init = ones)]
        gain0: Param<1, 1, 1>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<3, 1>,
        #[layer(bias = false)]
        fc0: Linear<3, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        pub fn features<B: Dim>(&self, image: Tensor<B, 1, 7, 7>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image);
            let mixed = self.bn0(hidden);
            let mixed = mixed + hidden;
            let mixed = mixed * self.gain0;
            let mixed = mixed.dropout2d(0.25);
            let next = mixed.mean(axis = (2, 3));
            let inner = next.cumsum(axis = 1);
            let state = next.maximum(inner);
            let part = inner + 0.5 * inner.flip(axis = 1);
            let hidden2 = (part * 1.5 + 0.1).tanh();
            let mixed2 = einsum("bi,oi->bo", hidden2, self.core0);
            let next2 = self.fc0(mixed2);
            next2
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 1, 7, 7>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(image, rate);
            let mixed = hidden.dropout(rate);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 7, 7>, label: Tensor<i64, B>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            cross_entropy(scores, label, ignore_index = 1)
        }

        pub fn accuracy<B: Dim>(
            &self,
            image: Tensor<B, 1, 7, 7>,
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

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.relu();
            x.tanh() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = Self::bend2(x);
            let mixed = x + hidden;
            x + mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(p = 0.25)]
        drop0: Dropout,
        act0: Softplus,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.drop0(x);
            let mixed = self.act0(hidden);
            let next = mixed + x;
            next
        }
    }

    #[model]
    pub struct Net {
        #[layer(padding = 1, dilation = 2)]
        conv0: Conv2d<_, 2, 1>,
        #[layer(stride = 1)]
        pool0: AvgPool2d<2>,
        block0: Outer<2, 3>,
        #[layer(bias = false)]
        fc0: Linear<_, WIDTH>,
        block1: Inner<WIDTH>,
        seen0: State<WIDTH>,
        fc1: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        pub fn features<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image).sigmoid();
            let hidden = self.pool0(hidden);
            let mixed = hidden.gelu();
            let next = hidden.max_pool2d(2, padding = 1);
            let next = next.mean(axis = (2, 3));
            let inner = next.mish();
            let state = self.block0(self.block0(inner));
            let part = self.fc0(state);
            let hidden2 = self.block1(self.block1(part));
            self.seen0 = self.seen0 * 0.75 + 0.25 * part.mean(axis = 0);
            let mixed2 = part + self.seen0;
            let next2 = self.fc1(mixed2).tanh();
            next2
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(image, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 7, 5>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            cross_entropy(scores, label)
        }

        pub fn inspect<B: Dim>(
            &self,
            image: Tensor<B, 3, 7, 5>,
            rate: f32,
        ) -> (Tensor<B, WIDTH>, Tensor<B, 6>) {
            let features = self.features(image, rate);
            (features, self.scores(image, rate))
        }
    }
}

pub mod seed_05 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<_, { 2 * D }>,
        fc1: Linear<_, 4>,
        #[layer(eps = 0.01)]
        norm0: RmsNorm<4>,
        fc2: Linear<4, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.fc0(x);
            let mixed = self.fc1(hidden);
            let next = self.norm0(mixed);
            let mixed = (mixed * 1.5 + 0.1).silu();
            let inner = mixed + 0.5 * mixed.flip(axis = 2);
            let inner = self.fc2(inner).relu();
            inner
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        act0: Softplus,
        fc0: Linear<D, { 2 * D }>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<D, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.act0(x);
            let mixed = self.fc0(hidden).relu();
            let next = einsum("bi,oi->bo", hidden, self.core0);
            next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 3>,
        fc0: Linear<3, 4>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, 4>,
        block0: Inner<4>,
        block1: Inner<4>,
        fc1: Linear<4, 3>,
        block2: Inner<3>,
        block3: Side<3>,
        fc2: Linear<3, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.gelu();
            x.tanh() * gate
        }

        pub fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = self.fc0(hidden).relu();
            let next = Self::bend3(mixed);
            let inner = einsum("bti,oi->bto", mixed, self.core0);
            let next = self.block0(self.block0(next));
            let state = self.block1(self.block1(inner));
            let part = self.fc1(state);
            let hidden2 = self.block2(self.block2(part));
            let mixed2 = hidden2 - hidden2.max(axis = 0, keepdim = true);
            let next2 = mixed2.mean(axis = 1);
            let inner2 = self.block3(next2);
            let state2 = self.block3(next2);
            let part2 = self.fc2(state2);
            part2
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(tokens, rate);
            let mixed = hidden.log_softmax(axis = 1);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<u8, B>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            cross_entropy(scores, label, ignore_index = 1)
        }

        pub fn inspect<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            rate: f32,
        ) -> (Tensor<B, WIDTH>, Tensor<B, 6>) {
            let features = self.features(tokens, rate);
            (features, self.scores(tokens, rate))
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

pub mod seed_06 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.cumsum(axis = 1);
            let (mixed, next) = (hidden.sigmoid(), hidden * 0.5);
            let (inner, state) = (next.relu(), next * 0.5);
            x + state
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        act0: LeakyRelu,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.act0(x);
            let mixed = hidden.dropout(0.25);
            x + mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(padding = 1, groups = 2, bias = false)]
        conv0: Conv2d<2, 4, 2>,
        #[layer(stride = 1, padding = 1)]
        pool0: MaxPool2d<3>,
        #[layer(bias = false)]
        fc0: Linear<_, 4>,
        #[layer(bias = false)]
        fc1: Linear<4, 3>,
        head0: Linear<2, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, 3> {
            let hidden = self.conv0(image).sigmoid();
            let mixed = hidden.avg_pool2d(3, stride = 1, padding = 1);
            let hidden = self.pool0(hidden);
            let next = hidden.adaptive_avg_pool2d((2, 1)).flatten();
            let next = next - next.mean(axis = 1, keepdim = true);
            let next = next + next.tanh();
            let inner = self.fc0(next).tanh();
            let state = self.fc1(inner).tanh();
            state
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, 6> {
            let hidden = self.features(image);
            let mixed = hidden.slice(.., 0..2);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 7, 6>, target: Tensor<B, 6>) -> Scalar {
            let scores = self.scores(image);
            mse(scores, target)
        }

        pub fn accuracy<B: Dim>(&self, image: Tensor<B, 2, 7, 6>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(image).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_07 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(bias = false)]
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.sin();
            x.softplus() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = Self::bend2(x);
            let mixed = concat((hidden, x), axis = 1);
            let next = self.fc0(mixed).tanh();
            x + next
        }
    }

    #[model]
    pub struct Net {
        block0: Inner<3>,
        #[freeze]
        block1: Inner<3>,
        seen0: State<3>,
        fc0: Linear<_, 4>,
        fc1: Linear<4, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.elu();
            x.mish() * gate
        }

        fn features<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 4> {
            let hidden = self.block0(self.block0(x));
            let hidden = self.block1(self.block1(hidden));
            let mixed = hidden + self.block0(hidden);
            self.seen0 = self.seen0 * 0.75 + 0.25 * mixed.mean(axis = 0);
            let next = mixed - self.seen0;
            let inner = Self::bend2(mixed);
            let state = self.fc0(inner);
            let state = self.fc1(state).relu();
            state
        }

        pub fn scores<B: Dim>(&self, x: Tensor<B, 3>) -> Tensor<B, 5> {
            let hidden = self.features(x);
            let mixed = Self::bend2(hidden);
            let (next, inner) = (mixed.sigmoid(), mixed * 0.5);
            self.head0(inner)
        }

        pub fn loss<B: Dim>(&self, x: Tensor<B, 3>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(x);
            bce_with_logits(scores, target.sigmoid())
        }
    }
}

pub mod seed_08 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.01)]
        norm0: LayerNorm<D>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn0: BatchNorm1d<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.silu();
            let mixed = self.norm0(hidden);
            let next = self.bn0(hidden);
            next
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.gelu();
            x.softplus() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = 0);
            let hidden = x + self.seen0;
            let mixed = Self::bend2(x);
            let (next, inner) = (mixed.gelu(), mixed * 0.5);
            inner
        }
    }

    #[model]
    pub struct Net {
        #[layer(dilation = 2)]
        conv0: Conv2d<_, 3, 2>,
        act0: LeakyRelu,
        block0: Outer<3, 3>,
        #[layer(init = ones)]
        scale0: Param<3>,
        fc0: Linear<3, WIDTH>,
        head0: Linear<3, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 3, 5, 7>) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image);
            let mixed = hidden.dropout(0.25);
            let mixed = mixed.avg_pool2d(3, stride = 2, padding = 1);
            let next = mixed.dropout2d(0.25);
            let inner = next.mean(axis = (2, 3));
            let inner = self.act0(inner);
            let state = self.block0(inner);
            let part = inner + self.scale0;
            let part = self.fc0(part).relu();
            part
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 3, 5, 7>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            let mixed = hidden.matmul(self.fc0.weight);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 3, 5, 7>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(image);
            cross_entropy(scores, label)
        }

        pub fn accuracy<B: Dim>(&self, image: Tensor<B, 3, 5, 7>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(image).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_09 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = (0, 1));
            let hidden = x + self.seen0;
            let mixed = hidden.log_softmax(axis = 2);
            x + mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, 4>,
        fc0: Linear<4, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.dropout(0.25);
            let mixed = x.matmul(self.weight0);
            let mixed = mixed.log_softmax(axis = 2);
            let mixed = self.fc0(mixed).relu();
            x + mixed
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(init = ones)]
        scale0: Param<D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.cumsum(axis = 1);
            let mixed = hidden * self.scale0;
            x + mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(bias = false)]
        fc0: Linear<3, 4>,
        #[layer(bias = false)]
        fc1: Linear<6, WIDTH>,
        fc2: Linear<_, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.fc0(x).relu();
            let hidden = hidden - hidden.min(axis = 0, keepdim = true);
            let hidden = hidden + 0.5 * hidden.flip(axis = 2);
            let hidden = hidden.matmul(self.fc0.weight);
            let mixed = concat((hidden, x), axis = 2);
            let mixed = (mixed * mixed.softmax(axis = 1)).sum(axis = 1);
            let next = self.fc1(mixed).relu();
            next
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            let mixed = self.fc2(hidden);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            let log = scores.log_softmax(axis = 1);
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean()
        }
    }
}

pub mod seed_10 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        act0: Sigmoid,
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.act0(x);
            let mixed = hidden.cumsum(axis = 1);
            let (next, inner) = (mixed.sin(), mixed * 0.5);
            self.seen0 = self.seen0 * 0.75 + 0.25 * inner.mean(axis = 0);
            let inner = inner - self.seen0;
            let state = inner.maximum(next);
            x + state
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        fc0: Linear<D, 4>,
        #[layer(eps = 0.1)]
        norm0: RmsNorm<4>,
        fc1: Linear<4, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.fc0(x);
            let hidden = self.norm0(hidden);
            let hidden = self.fc1(hidden);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, padding = 1, dilation = 2)]
        conv0: Conv2d<2, 1, 1>,
        #[layer(eps = 0.1)]
        gn0: GroupNorm<1, 1>,
        #[layer(padding = 1)]
        conv1: Conv2d<1, 2, 2>,
        #[layer(stride = 2, padding = 1, dilation = 2, groups = 2)]
        conv2: Conv2d<2, 6, 3>,
        #[layer(bias = false)]
        fc0: Linear<6, 4>,
        #[layer(init = ones)]
        scale0: Param<4>,
        #[layer(init = ones)]
        scale1: Param<4>,
        fc1: Linear<4, 4>,
        seen0: State<4>,
        head0: Linear<2, 5>,
    }

    #[model]
    impl Net {
        pub fn features<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, 4> {
            let hidden = self.conv0(image).relu();
            let mixed = self.gn0(hidden);
            let hidden = self.conv1(hidden).sigmoid();
            let hidden = self.conv2(hidden).sigmoid();
            let hidden = hidden.mean(axis = (2, 3));
            let next = self.fc0(hidden);
            let next = next.cumsum(axis = 1);
            let inner = next + self.scale0;
            let mut state = inner;
            state += 0.5 * next;
            let state = state + self.scale1;
            let part = self.fc1(state);
            part
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            self.seen0 = self.seen0 * 0.75 + 0.25 * hidden.mean(axis = 0);
            let mixed = hidden - self.seen0;
            let mixed = mixed.slice(.., 0..2);
            self.head0(mixed)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 7, 6>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(image);
            mse(scores, target)
        }
    }
}

pub mod seed_11 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.mish();
            x.sin() * gate
        }

        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = Self::bend3(x);
            let (mixed, next) = (hidden.mish(), hidden * 0.5);
            let inner = next.sigmoid();
            let state = concat((inner, next), axis = 2);
            let part = self.fc0(state).relu();
            x + part
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        seen0: State<D>,
        block0: Inner<D>,
        block1: Inner<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.dropout(0.25);
            self.seen0 = self.seen0 * 0.75 + 0.25 * hidden.mean(axis = (0, 1));
            let mixed = hidden - self.seen0;
            let (next, inner) = (mixed.mish(), mixed * 0.5);
            let inner = self.block0(self.block0(inner));
            let state = next + self.block1(next);
            state
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 3>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<2, 3>,
        fc0: Linear<3, WIDTH>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, WIDTH>,
        seen0: State<4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.relu();
            x.tanh() * gate
        }

        pub fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden.slice(.., .., 0..2);
            let next = mixed.softmax(axis = 2);
            let (inner, state) = (next.softplus(), next * 0.5);
            let state = state.matmul(self.weight0);
            let part = Self::bend3(state);
            let part = part.max(axis = 1);
            let hidden2 = part.log_softmax(axis = 1);
            let mixed2 = select(part > hidden2, part, 0.5 * hidden2);
            let next2 = self.fc0(mixed2).tanh();
            next2
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            let mixed = einsum("bi,oi->bo", hidden, self.core0);
            self.seen0 = self.seen0 * 0.75 + 0.25 * mixed.mean(axis = 0);
            let next = mixed - self.seen0;
            self.head0(next)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(tokens);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }

        pub fn inspect<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> (Tensor<B, WIDTH>, Tensor<B, 5>) {
            let features = self.features(tokens);
            (features, self.scores(tokens))
        }

        pub fn accuracy<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(tokens).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_12 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        seen0: State<D>,
        fc0: Linear<D, D>,
        seen1: State<{ 2 * D }>,
        #[layer(bias = false)]
        fc1: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = (0, 1));
            let hidden = x - self.seen0;
            let hidden = self.fc0(hidden).relu();
            let mixed = concat((hidden, x), axis = 2);
            self.seen1 = self.seen1 * 0.75 + 0.25 * mixed.mean(axis = (0, 1));
            let next = mixed + self.seen1;
            let mixed = (mixed * 1.5 + 0.1).sigmoid();
            let mixed = self.fc1(mixed);
            x + mixed
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, D>,
        fc0: Linear<4, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x + 0.5 * x.flip(axis = 1);
            let mixed = hidden.softmax(axis = 1);
            let next = einsum("bi,oi->bo", mixed, self.core0);
            let inner = self.fc0(next).tanh();
            inner
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 3>,
        seen0: State<3>,
        block0: Inner<3>,
        fc0: Linear<3, 4>,
        act0: Silu,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        pub fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 4> {
            let hidden = self.table0(tokens);
            let (mixed, next) = (hidden.mish(), hidden * 0.5);
            self.seen0 = self.seen0 * 0.75 + 0.25 * next.mean(axis = (0, 1));
            let inner = next - self.seen0;
            let inner = inner + 0.5 * inner.flip(axis = 2);
            let state = self.block0(inner);
            let inner = inner + 0.5 * inner.flip(axis = 2);
            let inner = inner.max(axis = 1);
            let inner = select(inner < 0.1, inner.exp(), 1.1 + inner);
            let part = self.fc0(inner).relu();
            part
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            let mixed = self.act0(hidden);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(tokens);
            bce_with_logits(scores, target.sigmoid())
        }

        pub fn inspect<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> (Tensor<B, 4>, Tensor<B, 5>) {
            let features = self.features(tokens);
            (features, self.scores(tokens))
        }

        pub fn accuracy<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(tokens).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_13 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, { 2 * D }>,
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = (x * 1.5 + 0.1).mish();
            let mixed = hidden.matmul(self.weight0);
            let next = mixed.log_softmax(axis = 2);
            let inner = self.fc0(next).tanh();
            inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(eps = 0.1)]
        norm0: LayerNorm<D>,
        act0: Sigmoid,
        fc0: Linear<D, 4>,
        fc1: Linear<4, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = select(x < 0.1, x.exp(), 1.1 + x);
            let mixed = self.norm0(hidden);
            let next = self.act0(mixed);
            let mut inner = next;
            inner += 0.5 * hidden;
            let next = self.fc0(next).tanh();
            let state = self.fc1(next);
            x + state
        }
    }

    #[model]
    pub struct Net {
        block0: Inner<5>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<3, 5>,
        fc0: Linear<_, 3>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn0: BatchNorm1d<3>,
        head0: Linear<3, 5>,
    }

    #[model]
    impl Net {
        pub fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, 3> {
            let hidden = self.block0(self.block0(x));
            let mixed = hidden.cumsum(axis = 1);
            let mixed = mixed.softmax(axis = 2);
            let next = mixed.sum(axis = 1);
            let inner = einsum("bi,oi->bo", next, self.core0);
            let state = inner + 0.5 * inner.flip(axis = 1);
            let state = self.fc0(state).tanh();
            state
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, 5> {
            let hidden = self.features(x);
            let mixed = self.bn0(hidden);
            let next = mixed + 0.5 * mixed.flip(axis = 1);
            self.head0(next)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(x);
            cross_entropy(scores, label)
        }
    }
}

pub mod seed_14 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x + 0.5 * x.flip(axis = 2);
            let mut mixed = x;
            mixed += 0.5 * hidden;
            let next = hidden / (1.0 + mixed.square());
            x + next
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(init = ones)]
        scale0: Param<D>,
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x - self.scale0;
            let mixed = x + x.mish();
            let mixed = concat((mixed, hidden), axis = 2);
            let next = mixed + 0.5 * mixed.flip(axis = 2);
            let next = self.fc0(next).tanh();
            x + next
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, D>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<{ 2 * D }, D>,
        act0: Relu,
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.matmul(self.weight0);
            let mut mixed = hidden;
            mixed += 0.5 * x;
            let next = einsum("bi,oi->bo", mixed, self.core0);
            let inner = self.act0(next);
            let mut state = inner;
            state += 0.5 * next;
            let state = self.fc0(state).relu();
            state
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 3>,
        block0: Outer<3, 3>,
        #[layer(bias = false)]
        fc0: Linear<3, 4>,
        block1: Outer<4, 3>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, 4>,
        act0: Softplus,
        fc1: Linear<3, 5>,
        block2: Side<5>,
        head0: Linear<3, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.table0(tokens);
            let mixed = self.block0(self.block0(hidden));
            let mixed = self.fc0(mixed);
            let next = mixed + self.block1(mixed);
            let inner = mixed.log_softmax(axis = 2);
            let inner = einsum("bti,oi->bto", inner, self.core0);
            let state = inner.slice(.., .., 0..3);
            let part = state.mish();
            let hidden2 = (part * part.softmax(axis = 1)).sum(axis = 1);
            let mixed2 = self.act0(hidden2);
            let next2 = self.fc1(mixed2).relu();
            next2
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(tokens, rate);
            let mixed = self.block2(self.block2(hidden));
            let next = mixed.matmul(self.fc1.weight);
            self.head0(next)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<u8, B>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }
    }
}

pub mod seed_15 {
    use tapeless::prelude::*;

    const WIDTH: usize = 4;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(bias = false)]
        fc0: Linear<D, 4>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.softplus();
            x.sigmoid() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.fc0(x).relu();
            let mixed = x.mish();
            let mixed = Self::bend2(mixed);
            mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(padding = 1, dilation = 2, groups = 2, bias = false)]
        conv0: Conv2d<2, 2, 1>,
        #[layer(eps = 0.1)]
        bn0: BatchNorm2d<2>,
        #[layer(dilation = 2, bias = false)]
        conv1: Conv2d<2, 3, 3>,
        #[freeze]
        block0: Inner<3>,
        #[layer(eps = 0.01)]
        norm0: LayerNorm<3>,
        fc0: Linear<3, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image).sigmoid();
            let mixed = self.bn0(image);
            let mixed = mixed.avg_pool2d(2, stride = 1, padding = 1);
            let next = mixed.dropout(0.25);
            let inner = self.conv1(next).relu();
            let state = inner.global_avg_pool2d();
            let part = self.block0(state);
            let mut hidden2 = part;
            hidden2 += 0.5 * state;
            let mixed2 = hidden2 - hidden2.min(axis = 1, keepdim = true);
            let mixed2 = mixed2 + state;
            let mixed2 = self.norm0(mixed2);
            let mixed2 = mixed2 + hidden2;
            let next2 = self.fc0(mixed2).relu();
            next2
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 7, 6>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(image);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label) + 0.01 * decay
        }

        pub fn inspect<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> (Tensor<B, WIDTH>, Tensor<B, 5>) {
            let features = self.features(image);
            (features, self.scores(image))
        }

        pub fn accuracy<B: Dim>(&self, image: Tensor<B, 2, 7, 6>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(image).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_16 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(bias = false)]
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.dropout(0.25);
            let mixed = x.cumsum(axis = 1);
            let next = concat((mixed, x), axis = 2);
            let next = next.cumsum(axis = 1);
            let next = self.fc0(next).relu();
            x + next
        }
    }

    #[model]
    pub struct Net {
        #[layer(init = ones)]
        scale0: Param<4>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<3, 4>,
        act0: Softplus,
        fc0: Linear<_, 3>,
        fc1: Linear<_, 5>,
        head0: Linear<5, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 5> {
            let hidden = x + self.scale0 * (1.0 - rate);
            let hidden = einsum("bti,oi->bto", hidden, self.core0);
            let mixed = self.act0(hidden);
            let next = mixed.matmul(hidden.permute(0, 2, 1));
            let inner = next.softmax(axis = 2).matmul(hidden);
            let inner = self.fc0(inner).relu();
            let state = inner.sum(axis = 1);
            let state = state.gelu();
            let state = state.cumsum(axis = 1);
            let state = self.fc1(state);
            state
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            let mixed = hidden.sigmoid();
            let mixed = mixed + 0.5 * mixed.flip(axis = 1);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label) + 0.01 * decay
        }

        pub fn inspect<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> (Tensor<B, 5>, Tensor<B, 5>) {
            let features = self.features(x, rate);
            (features, self.scores(x, rate))
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

pub mod seed_17 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = (x * 1.5 + 0.1).silu();
            let mixed = concat((x, hidden), axis = 2);
            let mixed = self.fc0(mixed).tanh();
            mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(bias = false)]
        fc0: Linear<D, { 2 * D }>,
        fc1: Linear<_, { 2 * D }>,
        fc2: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.fc0(x);
            let hidden = hidden + hidden.relu();
            let hidden = self.fc1(hidden).relu();
            let mixed = self.fc2(hidden).tanh();
            x + mixed
        }
    }

    #[model]
    pub struct Net {
        seen0: State<5>,
        seen1: State<2>,
        #[layer(bias = false)]
        fc0: Linear<2, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, WIDTH> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = (0, 1));
            let hidden = x - self.seen0;
            let (mixed, next) = (hidden.relu(), hidden * 0.5);
            let inner = (next * 1.5 + 0.1).softplus();
            let state = inner.slice(.., .., 0..2);
            let part = state.cumsum(axis = 1);
            let (hidden2, mixed2) = (part.tanh(), part * 0.5);
            let next2 = (mixed2 * mixed2.softmax(axis = 1)).sum(axis = 1);
            self.seen1 = self.seen1 * 0.75 + 0.25 * next2.mean(axis = 0);
            let inner2 = next2 + self.seen1;
            let state2 = inner2 + next2;
            let part2 = self.fc0(state2).relu();
            part2
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, 6> {
            let hidden = self.features(x);
            let mixed = hidden.tanh();
            let mixed = mixed.dropout(0.25);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(x);
            cross_entropy(scores, label)
        }
    }
}

pub mod seed_18 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, { 2 * D }>,
        #[layer(p = 0.25)]
        drop0: Dropout,
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.matmul(self.weight0);
            let mixed = self.drop0(hidden);
            let next = mixed - mixed.min(axis = 2, keepdim = true);
            let inner = self.fc0(next).tanh();
            inner
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(p = 0.25)]
        drop0: Dropout,
        #[layer(init = ones)]
        scale0: Param<D>,
        fc0: Linear<_, 4>,
        act0: Silu,
        fc1: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.drop0(x);
            let mixed = x * self.scale0;
            let next = self.fc0(mixed).tanh();
            let inner = self.act0(mixed);
            let next = next.slice(.., 0..2);
            let next = self.fc1(next).relu();
            x + next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 4>,
        seen0: State<4>,
        #[layer(init = ones)]
        scale0: Param<4>,
        fc0: Linear<_, 4>,
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        pub fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 4> {
            let hidden = self.table0(tokens);
            self.seen0 = self.seen0 * 0.75 + 0.25 * hidden.mean(axis = (0, 1));
            let mixed = hidden - self.seen0;
            let next = mixed * self.scale0;
            let next = next + mixed;
            let inner = next.mean(axis = 1);
            let inner = self.fc0(inner).relu();
            inner
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            let mixed = einsum("bi,oi->bo", hidden, self.core0);
            let next = mixed.dropout(0.25);
            self.head0(next)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(tokens);
            let log = scores.log_softmax(axis = 1);
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean()
        }

        pub fn inspect<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> (Tensor<B, 4>, Tensor<B, 5>) {
            let features = self.features(tokens);
            (features, self.scores(tokens))
        }
    }
}

pub mod seed_19 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<_, D>,
        act0: Tanh,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x - x.min(axis = 2, keepdim = true);
            let (mixed, next) = (hidden.silu(), hidden * 0.5);
            let inner = self.fc0(next).tanh();
            let inner = self.act0(inner);
            x + inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let (hidden, mixed) = (x.tanh(), x * 0.5);
            let next = mixed + self.block0(mixed);
            let inner = next.cumsum(axis = 1);
            let inner = inner - inner.min(axis = 0, keepdim = true);
            let inner = inner.softplus();
            inner
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 3>,
        block0: Outer<2, 3>,
        #[layer(bias = false)]
        fc0: Linear<2, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden.log_softmax(axis = 2);
            let next = hidden.slice(.., .., 0..2);
            let inner = self.block0(next);
            let state = (inner * 1.5 + 0.1).sin();
            let part = state.mean(axis = 1);
            let hidden2 = self.fc0(part).relu();
            hidden2
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(tokens, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<u8, B>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            cross_entropy(scores, label, label_smoothing = 0.1)
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
