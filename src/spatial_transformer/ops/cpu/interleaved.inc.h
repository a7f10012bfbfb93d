// The same passes where a pixel's channels are side by side, in the tensor or in copies: vectors go
// along these, which is faster from some eight channels on. Rows are handled in chunks of at most
// kChunk pixels.

// Where the pixels of a chunk read.
template <class T, int D, int W>
struct Chunk {
  int32_t index[kChunk];
  bool dead[kChunk];
  T w[D][W][kChunk], slope[D][W][kChunk];
  T sign[D][kChunk];
  bool apart[kChunk];                    // taps are not all in memory: each is where `place` says
  int32_t place[kTaps<D, W>][kChunk];    // -1: the fill value

  // Of columns [j, j + count) of the row at which `points` is.
  STN_INLINE void find(const Points<T, D>& points, const Finder<T, D, W>& finder, int64_t j,
                       int count, bool slopes) {
    for (int k = 0; k < count; k += kLanes<T>) {
      Vec<T> u[D], t[D];
      Int<T> first;
      points.at(j + k, count - k, u);
      if (finder.quick(u, first, t)) {
        for (int n = 0; n < kLanes<T>; ++n) dead[k + n] = apart[k + n] = false;
        for (int a = 0; a < D; ++a) store(sign[a] + k, splat<T>(1));
      } else {
        Taps<T, D> taps;
        finder.careful(u, taps);
        first = taps.index;
        if (points.call.pad == 0) {
          int32_t at[kTaps<D, W>][kLanes<T>];
          tap_indices<T, D, W>(points.call, taps, at);
          for (int n = 0; n < kTaps<D, W>; ++n) memcpy(place[n] + k, at[n], sizeof at[n]);
        }
        for (int n = 0; n < kLanes<T>; ++n) {
          dead[k + n] = taps.dead[n];
          apart[k + n] = points.call.pad == 0;
        }
        for (int a = 0; a < D; ++a) {
          t[a] = taps.t[a];
          store(sign[a] + k, taps.sign[a]);
        }
      }
      store(index + k, first);
      const Weights<T, D, W> weights(t, slopes);
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        STN_UNROLL
        for (int n = 0; n < W; ++n) {
          store(w[a][n] + k, weights.w[a][n]);
          if (slopes && W > 2) store(slope[a][n] + k, weights.slope[a][n]);
        }
      }
    }
  }
};

// A block of channels of one output, side by side.
template <class T, int D, int W>
struct Interleaved {
  const Call<T>& call;
  const int64_t b;
  const Finder<T, D, W> finder;
  Points<T, D> points;
  Chunk<T, D, W> chunk;
  Fetch<T, D> fetch;  // a step is a pixel
  int64_t low = 0, high = 0, m = 0;  // the channels, and their number in whole groups
  int64_t offsets[kTaps<D, W>];      // from the first tap to each
  T *base, *buffer;  // the image (or its gradient) and a chunk of the output (or its gradient)
  T* spare;          // one pixel: the fill values, or what is added to nothing

  STN_INLINE Interleaved(const Call<T>& call, int64_t b)
      : call(call), b(b), finder(call), points(call, b) {
    const int64_t channels = copy_channels<T>(call.block);
    const size_t copies = call.pad ? copy_size(call, call.block) : 0;
    const size_t room = call.pad ? size_t(kChunk * channels) : 0;
    base = static_cast<T*>(scratch((copies + room + size_t(channels)) * sizeof(T)));
    buffer = base + copies, spare = buffer + room;
    memset(buffer, 0, (room + size_t(channels)) * sizeof(T));  // channels that are not there
  }

  STN_INLINE void block(int64_t from, int64_t to) {
    low = from, high = to, m = copy_channels<T>(to - from);
    for (int n = 0; n < kTaps<D, W>; ++n) offsets[n] = tap_offset<D, W>({call.stride(), call.slice()}, n) * m;
  }
  // Channels [from, to) for output rows [first, last).
  STN_INLINE void open(int64_t from, int64_t to, int64_t first, int64_t last) {
    block(from, to);
    for (int64_t c = low; c < high; ++c) spare[c - low] = call.fill_of(b, c);
    if (!call.pad) {
      const T* image = static_cast<const T*>(call.image);
      base = const_cast<T*>(image) + call.image_of(b) * call.plane() * m;
      return;
    }
    if (m > high - low) memset(base, 0, copy_size(call, m) * sizeof(T));  // 0 * that must be 0
    int64_t lowest, highest;
    rows_read(points, first, last, lowest, highest);
    extend(call, b, low, high, lowest, highest, base);
  }

  // Calls work(row, column, count) for the chunks of rows [first, last).
  template <class F>
  STN_INLINE void for_chunks(int64_t first, int64_t last, bool slopes, const F& work) {
    const int64_t width = call.p.out_size[0];
    if (call.foreseen) fetch.begin(points, first);
    for (int64_t r = first; r < last; ++r) {
      points.row(r);
      for (int64_t j = 0; j < width; j += kChunk) {
        const int count = int(width - j < kChunk ? width - j : kChunk);
        if (call.foreseen) fetch.advance(points, r + kAhead, base, m, count);
        chunk.find(points, finder, j, count, slopes);
        work(r, j, count);
      }
    }
  }
  // The chunk of a tensor like the output: itself or, without copies, where the tensor has it.
  STN_INLINE T* chunk_of(const void* tensor, int64_t r, int64_t j) const {
    if (call.pad) return buffer;
    const int64_t at = b * call.out_plane() + r * call.p.out_size[0] + j;
    return static_cast<T*>(const_cast<void*>(tensor)) + at * m;
  }
  // The chunk between the buffer and the tensor.
  template <bool Put>
  STN_INLINE void exchange(const void* tensor, int64_t r, int64_t j, int count) {
    if (!call.pad) return;
    stored_pixels<T, Put>(call, tensor, call.out_plane(), b, r * call.p.out_size[0] + j, count, low,
                          high, buffer, Steps{m, 1});
  }

  // Where the taps of pixel k are.
  STN_INLINE void taps_of(int k, T** at) const {
    T* first = base + int64_t(chunk.index[k]) * m;
    const bool apart = chunk.apart[k];
    STN_UNROLL
    for (int n = 0; n < kTaps<D, W>; ++n) at[n] = first + offsets[n];
    for (int n = 0; apart && n < kTaps<D, W>; ++n) {
      const int32_t place = chunk.place[n][k];
      at[n] = place < 0 ? spare : base + place * m;
    }
  }
  // Fetches, if rows are, a share of them, or else what a pixel soon after pixel k reads.
  STN_INLINE void foresee(int k, int count) const {
    constexpr int soon = 3, line = 64 / sizeof(T);
    if (call.foreseen) return fetch.template some<false>(0, k, 1);
    if (call.pad || k + soon >= count) return;
    const T* first = base + int64_t(chunk.index[k + soon]) * m;
    STN_UNROLL
    for (int n = 0; n < kTaps<D, W>; n += W) {
      for (int64_t c = 0; c < W * m; c += line) __builtin_prefetch(first + offsets[n] + c);
    }
  }
  // The weights of pixel k, each in all lanes.
  STN_INLINE void weights_of(int k, Vec<T> (*w)[W], Vec<T> (*slope)[W]) const {
    STN_UNROLL
    for (int a = 0; a < D; ++a) {
      STN_UNROLL
      for (int n = 0; n < W; ++n) {
        w[a][n] = splat<T>(chunk.w[a][n][k]);
        if (W > 2 && slope) slope[a][n] = splat<T>(chunk.slope[a][n][k]);
      }
    }
  }
};

template <class T, int D, int W>
void interleaved_forward(const Call<T>& call, int64_t b, int64_t first, int64_t last, int64_t low,
                         int64_t high) {
  Interleaved<T, D, W> p(call, b);
  for (int64_t block = low; block < high; block += call.block) {
    p.open(block, block + call.block < high ? block + call.block : high, first, last);
    const int64_t m = p.m;
    p.for_chunks(first, last, false, [&](int64_t r, int64_t j, int count) STN_LAMBDA {
      T* out = p.chunk_of(call.out, r, j);
      for (int k = 0; k < count; ++k, out += m) {
        if (p.chunk.dead[k]) {
          memcpy(out, p.spare, size_t(m) * sizeof(T));
          continue;
        }
        T* at[kTaps<D, W>];
        Vec<T> w[D][W];
        p.foresee(k, count);
        p.taps_of(k, at);
        p.weights_of(k, w, nullptr);
        fetch_lines<true>(out + kSoon<T>, m);
        for (int64_t c = 0; c < m; c += kLanes<T>) {
          Vec<T> values[kTaps<D, W>];
          STN_UNROLL
          for (int n = 0; n < kTaps<D, W>; ++n) values[n] = load<Vec<T>>(at[n] + c);
          store(out + c, weighted<Vec<T>, D, W>(values, w));
        }
      }
      p.template exchange<true>(call.out, r, j, count);
    });
  }
}

template <class T, int D, int W>
void interleaved_map_gradient(const Call<T>& call, int64_t b, int64_t first, int64_t last,
                              double* part) {
  // eight sums side by side, however wide the vectors are
  constexpr int wide = kLanes<T>, vectors = kSide / wide;
  Interleaved<T, D, W> p(call, b);
  MapGradient<T, D> gradient(call, p.points, b);
  for (int64_t block = 0; block < call.p.channels; block += call.block) {
    const int64_t left_over = call.p.channels - block;
    p.open(block, block + (left_over < call.block ? left_over : call.block), first, last);
    const int64_t m = p.m;
    gradient.add = block > 0;
    p.for_chunks(first, last, true, [&](int64_t r, int64_t j, int count) STN_LAMBDA {
      p.template exchange<false>(call.grad, r, j, count);
      const T* grad = p.chunk_of(call.grad, r, j);
      T slopes[D][kChunk + kGroup];
      for (int k = 0; k < count; ++k, grad += m) {
        for (int a = 0; a < D; ++a) slopes[a][k] = 0;
        if (p.chunk.dead[k]) continue;
        T* from[kTaps<D, W>];
        p.foresee(k, count);
        p.taps_of(k, from);
        Vec<T> sum[D][vectors] = {}, w[D][W], slope[D][W];
        p.weights_of(k, w, slope);
        fetch_lines<false>(grad + kSoon<T>, m);
        for (int64_t c = 0; c < m; c += kSide) {
          STN_UNROLL
          for (int v = 0; v < vectors; ++v) {
            const int64_t at = c + v * wide;
            const Vec<T> g = load<Vec<T>>(grad + at);
            Vec<T> values[kTaps<D, W>];
            STN_UNROLL
            for (int n = 0; n < kTaps<D, W>; ++n) values[n] = load<Vec<T>>(from[n] + at);
            STN_UNROLL
            for (int a = 0; a < D; ++a) {
              sum[a][v] += g * sloped<Vec<T>, D, W>(a, values, w, slope);
            }
          }
        }
        for (int a = 0; a < D; ++a) {
          T side[kSide];
          STN_UNROLL
          for (int v = 0; v < vectors; ++v) store(side + v * wide, sum[a][v]);
          slopes[a][k] = p.chunk.sign[a][k] * (((side[0] + side[4]) + (side[1] + side[5])) +
                                               ((side[2] + side[6]) + (side[3] + side[7])));
        }
      }
      gradient.pixels(r, j, count, slopes);
    });
  }
  gradient.close(part);
}

// Equation (6) of rows [first, last) of an output, added to p.base.
template <class T, int D, int W>
STN_INLINE void interleaved_scatter(Interleaved<T, D, W>& p, int64_t first, int64_t last) {
  const int64_t m = p.m;
  p.for_chunks(first, last, false, [&](int64_t r, int64_t j, int count) STN_LAMBDA {
    p.template exchange<false>(p.call.grad, r, j, count);
    const T* grad = p.chunk_of(p.call.grad, r, j);
    for (int k = 0; k < count; ++k, grad += m) {
      if (p.chunk.dead[k]) continue;
      T* at[kTaps<D, W>];
      T weights[kTaps<D, W>];
      p.taps_of(k, at);
      STN_UNROLL
      for (int n = 0; n < kTaps<D, W>; ++n) {
        const T on = p.chunk.w[0][n % W][k] * p.chunk.w[1][n / W % W][k];
        weights[n] = D == 3 ? on * p.chunk.w[D - 1][n / (W * W)][k] : on;
      }
      fetch_lines<false>(grad + kSoon<T>, m);
      for (int64_t c = 0; c < m; c += kLanes<T>) {
        const Vec<T> g = load<Vec<T>>(grad + c);
        STN_UNROLL
        for (int n = 0; n < kTaps<D, W>; ++n) {
          store(at[n] + c, load<Vec<T>>(at[n] + c) + g * weights[n]);
        }
      }
    }
  });
}
