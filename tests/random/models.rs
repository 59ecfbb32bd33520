//! Random models: the first texts that the compiler's own tests draw (`macros/src/oracle/source`). They are not edited by hand:
//! `cargo test -p tapeless_macros write_the_random_models -- --ignored` writes this file and the numbers in `expected`.

pub mod seed_00 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.01)]
        norm0: RmsNorm<D>,
        #[layer(init = ones)]
        scale0: Param<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x.softplus();
            let mixed = self.norm0(hidden);
            let mixed = mixed * self.scale0;
            mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(init = ones)]
        scale0: Param<5>,
        fc0: Linear<_, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, rate: f32) -> Tensor<B, 4> {
            let hidden = x - self.scale0;
            let mixed = hidden.softplus();
            let mixed = (mixed * mixed.softmax(axis = 1)).sum(axis = 1);
            let next = mixed + mixed.mish();
            let next = self.fc0(next);
            next
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, label: Tensor<i64, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label) + 0.01 * decay
        }
    }
}

pub mod seed_01 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.fc0(x).tanh();
            let mixed = hidden / (1.0 + x.square());
            x + mixed
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = (0, 1));
            let hidden = x - self.seen0;
            hidden
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, WIDTH>,
        block0: Inner<WIDTH>,
        block1: Inner<WIDTH>,
        #[layer(bias = false)]
        fc0: Linear<WIDTH, WIDTH>,
        seen0: State<WIDTH>,
        #[layer(bias = false)]
        fc1: Linear<WIDTH, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden + self.block0(hidden);
            let mixed = mixed + self.block1(mixed);
            let next = self.fc0(mixed).relu();
            let inner = self.block0(next);
            self.seen0 = self.seen0 * 0.75 + 0.25 * inner.mean(axis = (0, 1));
            let state = inner - self.seen0;
            let part = (state * state.softmax(axis = 1)).sum(axis = 1);
            let hidden2 = self.fc1(part);
            hidden2
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 6> {
            let hidden = self.features(tokens);
            self.head0(hidden)
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

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.01)]
        norm0: LayerNorm<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.cumsum(axis = 1);
            let hidden = self.norm0(hidden);
            let hidden = hidden + x;
            x + hidden
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {}

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x.silu();
            hidden
        }
    }

    #[model]
    pub struct Net {
        #[freeze]
        block0: Outer<5, 3>,
        #[layer(bias = false)]
        fc0: Linear<5, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, WIDTH> {
            let hidden = x + self.block0(x);
            let mixed = (hidden * 1.5 + 0.1).tanh();
            let next = mixed.sigmoid() * x;
            let inner = self.fc0(next).relu();
            inner
        }

        fn scores<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 6> {
            let hidden = self.features(x);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, x: Tensor<B, 5>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(x);
            cross_entropy(scores, label)
        }

        pub fn inspect<B: Dim>(&self, x: Tensor<B, 5>) -> (Tensor<B, WIDTH>, Tensor<B, 6>) {
            let features = self.features(x);
            (features, self.scores(x))
        }
    }
}

pub mod seed_03 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.mean(axis = 0, keepdim = true);
            hidden
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, dilation = 2, groups = 2)]
        conv0: Conv2d<2, 4, 1>,
        #[layer(init = ones)]
        gain0: Param<4, 1, 1>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn0: BatchNorm1d<4>,
        block0: Inner<4>,
        fc0: Linear<4, WIDTH>,
        block1: Inner<WIDTH>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<WIDTH, 4>,
        fc1: Linear<4, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 5, 6>) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image).sigmoid();
            let mixed = hidden * self.gain0;
            let mixed = mixed.mean(axis = (2, 3));
            let mixed = self.bn0(mixed);
            let mixed = self.block0(mixed);
            let mixed = self.fc0(mixed);
            let next = self.block1(mixed);
            let mixed = mixed.matmul(self.weight0);
            let mixed = self.fc1(mixed).tanh();
            mixed
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 2, 5, 6>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 5, 6>, target: Tensor<B, 5>) -> Scalar {
            let scores = self.scores(image);
            bce_with_logits(scores, target.sigmoid())
        }

        pub fn inspect<B: Dim>(&self, image: Tensor<B, 2, 5, 6>) -> (Tensor<B, WIDTH>, Tensor<B, 5>) {
            let features = self.features(image);
            (features, self.scores(image))
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
            let hidden = x.softmax(axis = 1);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        #[layer(dilation = 2)]
        conv0: Conv2d<1, 2, 2>,
        #[layer(eps = 0.1, affine = false)]
        bn0: BatchNorm2d<2>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn1: BatchNorm1d<2>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<4, 4>,
        #[layer(bias = false)]
        fc0: Linear<4, 5>,
        head0: Linear<5, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 1, 6, 7>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.conv0(image).sigmoid();
            let hidden = self.bn0(hidden);
            let mixed = hidden.global_avg_pool2d();
            let next = self.bn1(mixed);
            let next = concat((next, mixed), axis = 1);
            let next = next.matmul(self.weight0);
            let inner = self.fc0(next).relu();
            inner
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 1, 6, 7>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(image, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 6, 7>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(image, rate);
            let hot = label.one_hot(6);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            each.mean()
        }

        pub fn accuracy<B: Dim>(
            &self,
            image: Tensor<B, 1, 6, 7>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let best = self.scores(image, rate).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_05 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<D, D>,
        #[layer(p = 0.25)]
        drop0: Dropout,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = einsum("bti,oi->bto", x, self.core0);
            let mixed = self.drop0(x);
            let next = (mixed * 1.5 + 0.1).relu();
            x + next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 3>,
        fc0: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden.log_softmax(axis = 2);
            let mixed = mixed.log_softmax(axis = 2);
            let next = mixed.sum(axis = 1);
            let inner = self.fc0(next).tanh();
            inner
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            let (mixed, next) = (hidden.gelu(), hidden * 0.5);
            self.head0(next)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(tokens);
            let log = scores.log_softmax(axis = 1);
            let decay = self.fc0.weight.square().sum();
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean() + 0.01 * decay
        }

        pub fn accuracy<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(tokens).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_06 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let (hidden, mixed) = (x.sigmoid(), x * 0.5);
            let (next, inner) = (mixed.relu(), mixed * 0.5);
            x + inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {}

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let (hidden, mixed) = (x.silu(), x * 0.5);
            x + mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(padding = 1, dilation = 2)]
        conv0: Conv2d<2, 1, 2>,
        fc0: Linear<_, 4>,
        fc1: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, WIDTH> {
            let hidden = self.conv0(image);
            let mixed = hidden.tanh();
            let next = mixed + hidden;
            let inner = next.adaptive_avg_pool2d((2, 1)).flatten();
            let state = select(inner < 0.1, inner.exp(), 1.1 + inner);
            let state = state.cumsum(axis = 1);
            let part = self.fc0(state).tanh();
            let hidden2 = self.fc1(part);
            hidden2
        }

        fn scores<B: Dim>(&self, image: Tensor<B, 2, 7, 6>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 7, 6>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(image);
            let decay = self.fc0.weight.square().sum();
            cross_entropy(scores, label) + 0.01 * decay
        }
    }
}

pub mod seed_07 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = 0);
            let hidden = x + self.seen0;
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        block0: Inner<3>,
        fc0: Linear<3, 5>,
        head0: Linear<5, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, x: Tensor<B, 3>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.block0(x);
            let hidden = self.block0(self.block0(hidden));
            let mixed = self.fc0(hidden).tanh();
            mixed
        }

        fn scores<B: Dim>(&self, x: Tensor<B, 3>, rate: f32) -> Tensor<B, 6> {
            let hidden = self.features(x, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, x: Tensor<B, 3>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            cross_entropy(scores, label)
        }
    }
}

pub mod seed_08 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, 4>,
        #[layer(bias = false)]
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.mean(axis = 0, keepdim = true);
            let mixed = hidden.matmul(self.weight0);
            let next = self.fc0(mixed).relu();
            next
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {}

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn bend2<K: Dim, M: Dim>(x: Tensor<K, M>) -> Tensor<K, M> {
            let gate = x.gelu();
            x.softplus() * gate
        }

        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x + 0.5 * x.flip(axis = 1);
            let mixed = Self::bend2(x);
            mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, padding = 1)]
        conv0: Conv2d<2, 1, 1>,
        block0: Outer<1, 3>,
        fc0: Linear<1, 4>,
        block1: Inner<4>,
        #[layer(bias = false)]
        fc1: Linear<_, 3>,
        head0: Linear<3, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 6, 7>) -> Tensor<B, 3> {
            let hidden = self.conv0(image).sigmoid();
            let mixed = hidden.mish();
            let next = mixed.mean(axis = (2, 3));
            let inner = next.cumsum(axis = 1);
            let state = self.block0(inner);
            let part = self.fc0(state);
            let hidden2 = self.block1(self.block1(part));
            let mixed2 = self.block1(hidden2);
            let next2 = self.fc1(mixed2).relu();
            next2
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 2, 6, 7>) -> Tensor<B, 6> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 6, 7>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(image);
            cross_entropy(scores, label, label_smoothing = 0.1)
        }

        pub fn accuracy<B: Dim>(&self, image: Tensor<B, 2, 6, 7>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(image).argmax(axis = 1);
            (best == label).to_float().mean()
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
            let hidden = select(x < 0.1, x.exp(), 1.1 + x);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        block0: Inner<4>,
        fc0: Linear<4, 4>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<4, 4>,
        fc1: Linear<_, WIDTH>,
        #[layer(bias = false)]
        fc2: Linear<WIDTH, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn bend3<K: Dim, M: Dim, N: Dim>(x: Tensor<K, M, N>) -> Tensor<K, M, N> {
            let gate = x.sin();
            x.relu() * gate
        }

        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = Self::bend3(x);
            let hidden = self.block0(hidden);
            let mixed = self.fc0(hidden);
            let mixed = self.block0(mixed);
            let next = mixed.max(axis = 1);
            let inner = next.matmul(self.weight0);
            let state = self.fc1(inner);
            state
        }

        pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(x, rate);
            let mixed = self.fc2(hidden).relu();
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<u8, B>, rate: f32) -> Scalar {
            let scores = self.scores(x, rate);
            let hot = label.one_hot(5);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            each.mean()
        }

        pub fn inspect<B: Dim, T: Dim>(
            &self,
            x: Tensor<B, T, 4>,
            rate: f32,
        ) -> (Tensor<B, WIDTH>, Tensor<B, 5>) {
            let features = self.features(x, rate);
            (features, self.scores(x, rate))
        }
    }
}

pub mod seed_10 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        act0: Sigmoid,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.act0(x);
            let mixed = hidden.cumsum(axis = 1);
            let (next, inner) = (mixed.sin(), mixed * 0.5);
            inner
        }
    }

    #[model]
    pub struct Net {
        #[layer(stride = 2, padding = 1, dilation = 2)]
        conv0: Conv2d<_, 3, 2>,
        #[layer(padding = 1, dilation = 2, bias = false)]
        conv1: Conv2d<_, 3, 2>,
        block0: Inner<27>,
        #[layer(bias = false)]
        fc0: Linear<27, 4>,
        block1: Inner<4>,
        fc1: Linear<_, 4>,
        block2: Inner<4>,
        fc2: Linear<_, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 2, 5, 6>) -> Tensor<B, 4> {
            let hidden = self.conv0(image);
            let hidden = hidden.dropout(0.25);
            let mixed = self.conv1(hidden);
            let next = mixed.flatten();
            let (inner, state) = (next.softplus(), next * 0.5);
            let part = state.silu();
            let hidden2 = self.block0(part);
            let hidden2 = self.fc0(hidden2).relu();
            let mixed2 = self.block1(hidden2);
            let mixed2 = self.fc1(mixed2).relu();
            mixed2
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 2, 5, 6>) -> Tensor<B, 5> {
            let hidden = self.features(image);
            let mixed = self.block2(hidden);
            let next = self.fc2(mixed);
            let next = self.block1(next);
            self.head0(next)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 2, 5, 6>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(image);
            cross_entropy(scores, label, ignore_index = 1)
        }
    }
}

pub mod seed_11 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let (hidden, mixed) = (x.mish(), x * 0.5);
            let next = mixed.sigmoid();
            x + next
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 3>,
        #[layer(eps = 0.1, momentum = 0.25)]
        bn0: BatchNorm1d<2>,
        fc0: Linear<_, 4>,
        head0: Linear<4, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 4> {
            let hidden = self.table0(tokens);
            let mixed = hidden.dropout(0.25);
            let next = mixed.slice(.., .., 0..2);
            let inner = next.max(axis = 1);
            let inner = self.bn0(inner);
            let state = self.fc0(inner).tanh();
            state
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 6> {
            let hidden = self.features(tokens);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(tokens);
            let log = scores.log_softmax(axis = 1);
            -log.gather(label.unsqueeze(axis = 1), axis = 1).mean()
        }
    }
}

pub mod seed_12 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {
        act0: Softplus,
        #[layer(init = ones)]
        scale0: Param<D>,
        fc0: Linear<D, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.act0(x);
            let hidden = hidden.log_softmax(axis = 2);
            let x = x + self.scale0;
            let x = self.fc0(x).tanh();
            x
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        seen0: State<D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            self.seen0 = self.seen0 * 0.75 + 0.25 * x.mean(axis = 0);
            let hidden = x + self.seen0;
            let x = (x * 1.5 + 0.1).sigmoid();
            let hidden = hidden.cumsum(axis = 1);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, WIDTH>,
        #[layer(init = ones)]
        scale0: Param<WIDTH>,
        #[layer(eps = 0.01)]
        norm0: RmsNorm<WIDTH>,
        block0: Side<WIDTH>,
        fc0: Linear<WIDTH, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden * self.scale0 * (1.0 - rate);
            let next = self.norm0(mixed);
            let inner = next + 0.5 * next.flip(axis = 2);
            let state = (inner * inner.softmax(axis = 1)).sum(axis = 1);
            let part = self.block0(state);
            let part = self.fc0(part).tanh();
            part
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(tokens, rate);
            let mixed = hidden + 0.5 * hidden.flip(axis = 1);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            target: Tensor<B, 5>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            mse(scores, target)
        }
    }
}

pub mod seed_13 {
    use tapeless::prelude::*;

    const WIDTH: usize = 5;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<D, { 2 * D }>,
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = (x * 1.5 + 0.1).mish();
            let mixed = hidden.matmul(self.weight0);
            let next = self.fc0(mixed);
            next
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        block0: Inner<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.block0(x);
            hidden
        }
    }

    #[model]
    pub struct Net {
        fc0: Linear<5, WIDTH>,
        #[layer(bias = false)]
        fc1: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, WIDTH> {
            let hidden = x - x.mean(axis = 0, keepdim = true);
            let hidden = hidden + x;
            let mixed = hidden + 0.5 * hidden.flip(axis = 2);
            let next = mixed.max(axis = 1);
            let inner = self.fc0(next).tanh();
            let inner = self.fc1(inner).relu();
            inner
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>) -> Tensor<B, 6> {
            let hidden = self.features(x);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 5>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(x);
            let hot = label.one_hot(6);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            let decay = self.fc0.weight.square().sum();
            each.mean() + 0.01 * decay
        }
    }
}

pub mod seed_14 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x + 0.5 * x.flip(axis = 2);
            x + hidden
        }
    }

    #[model]
    pub struct Side<const D: usize> {
        #[layer(eps = 0.1)]
        norm0: LayerNorm<D>,
    }

    #[model]
    impl<const D: usize> Side<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = self.norm0(x);
            hidden
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, 4>,
        block0: Inner<4>,
        fc0: Linear<4, 4>,
        block1: Inner<4>,
        #[layer(bias = false)]
        fc1: Linear<4, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = self.block0(hidden);
            let mixed = self.fc0(mixed);
            let next = self.block1(self.block1(mixed));
            let mut inner = next;
            inner += 0.5 * hidden;
            let state = inner.mean(axis = 1);
            let part = self.fc1(state).tanh();
            part
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 6> {
            let hidden = self.features(tokens);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, target: Tensor<B, 6>) -> Scalar {
            let scores = self.scores(tokens);
            bce_with_logits(scores, target.sigmoid())
        }

        pub fn inspect<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> (Tensor<B, WIDTH>, Tensor<B, 6>) {
            let features = self.features(tokens);
            (features, self.scores(tokens))
        }
    }
}

pub mod seed_15 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<{ 2 * D }, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
            let hidden = x - x.min(axis = 0, keepdim = true);
            let hidden = concat((hidden, x), axis = 1);
            let mixed = self.fc0(hidden).relu();
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
        fc0: Linear<2, 4>,
        head0: Linear<4, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim>(&self, image: Tensor<B, 1, 5, 6>) -> Tensor<B, 4> {
            let hidden = self.conv0(image).relu();
            let hidden = self.conv1(hidden).relu();
            let mixed = hidden.dropout2d(0.25);
            let next = mixed.mean(axis = (2, 3));
            let inner = self.block0(next);
            let inner = inner.maximum(next);
            let inner = concat((inner, next), axis = 1);
            let state = self.fc0(inner).relu();
            state
        }

        pub fn scores<B: Dim>(&self, image: Tensor<B, 1, 5, 6>) -> Tensor<B, 6> {
            let hidden = self.features(image);
            self.head0(hidden)
        }

        pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 5, 6>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(image);
            let hot = label.one_hot(6);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            each.mean()
        }

        pub fn accuracy<B: Dim>(&self, image: Tensor<B, 1, 5, 6>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(image).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}

pub mod seed_16 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(init = normal(0.0, 0.5))]
        core0: Param<4, D>,
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = einsum("bti,oi->bto", x, self.core0);
            let (mixed, next) = (hidden.silu(), hidden * 0.5);
            let inner = self.fc0(next).tanh();
            inner
        }
    }

    #[model]
    pub struct Outer<const D: usize, const H: usize> {
        #[layer(init = ones)]
        scale0: Param<D>,
    }

    #[model]
    impl<const D: usize, const H: usize> Outer<D, H> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x * self.scale0;
            let mixed = hidden.maximum(x);
            x + mixed
        }
    }

    #[model]
    pub struct Net {
        #[layer(bias = false)]
        fc0: Linear<3, 4>,
        fc1: Linear<4, 3>,
        head0: Linear<3, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>) -> Tensor<B, 3> {
            let hidden = x.slice(.., .., 0..3);
            let mixed = self.fc0(hidden).relu();
            let next = mixed.sum(axis = 1);
            let inner = self.fc1(next);
            inner
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>) -> Tensor<B, 6> {
            let hidden = self.features(x);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, label: Tensor<u8, B>) -> Scalar {
            let scores = self.scores(x);
            let hot = label.one_hot(6);
            let each = -(scores.log_softmax(axis = 1) * hot).sum(axis = 1);
            each.mean()
        }
    }
}

pub mod seed_17 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        #[layer(eps = 0.1)]
        norm0: LayerNorm<D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = self.norm0(x);
            x + hidden
        }
    }

    #[model]
    pub struct Net {
        #[layer(bias = false)]
        fc0: Linear<3, 4>,
        fc1: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 6>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>) -> Tensor<B, WIDTH> {
            let hidden = self.fc0(x).relu();
            let x = x + x.relu();
            let mixed = (x * x.softmax(axis = 1)).sum(axis = 1);
            let next = self.fc1(mixed).tanh();
            next
        }

        fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>) -> Tensor<B, 6> {
            let hidden = self.features(x);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, target: Tensor<B, 6>) -> Scalar {
            let scores = self.scores(x);
            bce_with_logits(scores, target.sigmoid())
        }
    }
}

pub mod seed_18 {
    use tapeless::prelude::*;

    #[model]
    pub struct Inner<const D: usize> {}

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x - x.max(axis = 0, keepdim = true);
            let mixed = x + 0.5 * x.flip(axis = 2);
            mixed
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<6, 4>,
        #[layer(p = 0.25)]
        drop0: Dropout,
        block0: Inner<4>,
        fc0: Linear<4, 4>,
        fc1: Linear<_, 4>,
        head0: Linear<4, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 4> {
            let hidden = self.table0(tokens);
            let mixed = select(hidden < 0.1, hidden.exp(), 1.1 + hidden);
            let next = self.drop0(mixed);
            let mixed = mixed + self.block0(mixed);
            let inner = mixed.mean(axis = 1);
            let state = self.fc0(inner);
            let state = self.fc1(state).tanh();
            state
        }

        fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, rate: f32) -> Tensor<B, 5> {
            let hidden = self.features(tokens, rate);
            self.head0(hidden)
        }

        pub fn loss<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            label: Tensor<i64, B>,
            rate: f32,
        ) -> Scalar {
            let scores = self.scores(tokens, rate);
            cross_entropy(scores, label, ignore_index = 1)
        }

        pub fn inspect<B: Dim, T: Dim>(
            &self,
            tokens: Tensor<i64, B, T>,
            rate: f32,
        ) -> (Tensor<B, 4>, Tensor<B, 5>) {
            let features = self.features(tokens, rate);
            (features, self.scores(tokens, rate))
        }
    }
}

pub mod seed_19 {
    use tapeless::prelude::*;

    const WIDTH: usize = 3;

    #[model]
    pub struct Inner<const D: usize> {
        fc0: Linear<_, D>,
    }

    #[model]
    impl<const D: usize> Inner<D> {
        fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            let hidden = x - x.min(axis = 2, keepdim = true);
            let (mixed, next) = (hidden.silu(), hidden * 0.5);
            let inner = self.fc0(next).tanh();
            inner
        }
    }

    #[model]
    pub struct Net {
        table0: Embedding<5, WIDTH>,
        block0: Inner<WIDTH>,
        #[layer(init = normal(0.0, 0.5))]
        weight0: Param<WIDTH, 3>,
        fc0: Linear<_, WIDTH>,
        head0: Linear<WIDTH, 5>,
    }

    #[model]
    impl Net {
        fn features<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, WIDTH> {
            let hidden = self.table0(tokens);
            let mixed = hidden + self.block0(hidden);
            let next = mixed.matmul(self.weight0);
            let inner = (next * next.softmax(axis = 1)).sum(axis = 1);
            let inner = inner - inner.min(axis = 0, keepdim = true);
            let state = self.fc0(inner).relu();
            state
        }

        pub fn scores<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>) -> Tensor<B, 5> {
            let hidden = self.features(tokens);
            let mixed = hidden.softmax(axis = 1);
            self.head0(mixed)
        }

        pub fn loss<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let scores = self.scores(tokens);
            cross_entropy(scores, label)
        }

        pub fn accuracy<B: Dim, T: Dim>(&self, tokens: Tensor<i64, B, T>, label: Tensor<i64, B>) -> Scalar {
            let best = self.scores(tokens).argmax(axis = 1);
            (best == label).to_float().mean()
        }
    }
}
