// The passes where a pixel's channels are side by side, in the tensor or in copies: vectors go
// along these, which is faster from some eight channels on. Rows are handled in chunks of at most
// kChunk pixels.
#pragma once

#include "copies.h"
#include "interpolate.h"
#include "map_gradient.h"
#include "prefetch.h"

namespace stn::STN_SET {
namespace {

// Where the pixels of a chunk read.
template <class T, int D>
struct Chunk {
  static constexpr int kMost = D == 3 ? 2 : kMostTaps;  // along an axis
  static constexpr int kPlaces = D == 3 ? 8 : kMost * kMost;

  int32_t index[kChunk];  // of the base
  bool invalid[kChunk];
  T w[D][kMost][kChunk], slope[D][kMost][kChunk];
  T sign[D][kChunk];
  bool scattered[kChunk];          // taps are not all in memory: each is where `place` says
  int32_t place[kPlaces][kChunk];  // -1: the fill value

  // Of columns [j, j + count) of the row at which `coordinates` is.
  STN_NOINLINE void locate(const Coordinates<T, D>& coordinates, const TapLocator<T, D>& locator,
                           int64_t j, int count, bool slopes) {
    for (int k = 0; k < count; k += kLanes<T>) {
      Vec<T> u[D], t[D];
      Int<T> base;
      coordinates.at(j + k, count - k, u);
      if (locator.interior(u, base, t)) {
        for (int n = 0; n < kLanes<T>; ++n) invalid[k + n] = scattered[k + n] = false;
        for (int a = 0; a < D; ++a) store(sign[a] + k, splat<T>(1));
      } else {
        base = boundary(coordinates.call, locator, k, u);
        for (int a = 0; a < D; ++a) t[a] = load<Vec<T>>(fractions[a]);
      }
      store(index + k, base);
      if (Chunk::kMost == 2 || coordinates.call.p.kernel != kCubic) {
        keep_weights<2>(k, t, slopes);
      } else {
        keep_weights<kMost>(k, t, slopes);
      }
    }
  }

 private:
  T fractions[D][kLanes<T>];  // of boundary pixels

  // The base of those from pixel k on.
  STN_INLINE Int<T> boundary(const Call<T>& call, const TapLocator<T, D>& locator, int k,
                             const Vec<T>* u) {
    Vec<T> at[D];  // what a call is given the address of is not kept in registers
    for (int a = 0; a < D; ++a) at[a] = u[a];
    Taps<T, D> taps;
    locator.boundary(at, taps);
    if (call.pad == 0) {
      int32_t at[kPlaces][kLanes<T>] = {};
      tap_indices<T, D>(call, taps, at);
      for (int n = 0; n < kPlaces; ++n) memcpy(place[n] + k, at[n], sizeof at[n]);
    }
    for (int n = 0; n < kLanes<T>; ++n) {
      invalid[k + n] = taps.invalid[n];
      scattered[k + n] = call.pad == 0;
    }
    for (int a = 0; a < D; ++a) {
      store(fractions[a], taps.t[a]);
      store(sign[a] + k, taps.sign[a]);
    }
    return taps.index;
  }
  template <int W>
  STN_INLINE void keep_weights(int k, const Vec<T>* t, bool slopes) {
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
};

// A block of channels of one output, side by side.
template <class T, int D>
struct Interleaved {
  const Call<T>& call;
  const int64_t b;
  const TapLocator<T, D> locator;
  Coordinates<T, D> coordinates;
  Chunk<T, D> chunk;
  Prefetcher<T, D> prefetcher;       // a step is a pixel
  int64_t low = 0, high = 0, m = 0;  // the channels, and their number in whole groups
  T *base, *buffer;  // the image (or its gradient) and a chunk of the output (or its gradient)
  T* spare;          // one pixel: the fill values, or what is added to nothing

  STN_NOINLINE Interleaved(const Call<T>& call, int64_t b)
      : call(call), b(b), locator(call), coordinates(call, b) {
    const int64_t channels = copy_channels<T>(call.block);
    const size_t copies = call.pad ? copy_size(call, call.block) : 0;
    const size_t room = call.pad ? size_t(kChunk * channels) : 0;
    base = static_cast<T*>(scratch((copies + room + size_t(channels)) * sizeof(T)));
    buffer = base + copies, spare = buffer + room;
    memset(buffer, 0, (room + size_t(channels)) * sizeof(T));  // channels that are not there
  }

  STN_INLINE void block(int64_t from, int64_t to) {
    low = from, high = to, m = copy_channels<T>(to - from);
  }
  // Channels [from, to) for output rows [first, last).
  STN_NOINLINE void open(int64_t from, int64_t to, int64_t first, int64_t last) {
    block(from, to);
    for (int64_t c = low; c < high; ++c) spare[c - low] = call.fill_of(b, c);
    if (!call.pad) {
      const T* image = static_cast<const T*>(call.image);
      base = const_cast<T*>(image) + call.image_of(b) * call.plane() * m;
      return;
    }
    if (m > high - low) memset(base, 0, copy_size(call, m) * sizeof(T));  // 0 * that must be 0
    int64_t lowest, highest;
    rows_read(coordinates, first, last, lowest, highest);
    extend(call, b, low, high, lowest, highest, base);
  }

  // Calls work(row, column, count) for the chunks of rows [first, last).
  template <class F>
  STN_INLINE void for_chunks(int64_t first, int64_t last, bool slopes, const F& work) {
    const int64_t width = call.p.out_size[0];
    if (call.prefetches) prefetcher.begin(coordinates, first);
    for (int64_t r = first; r < last; ++r) {
      coordinates.row(r);
      for (int64_t j = 0; j < width; j += kChunk) {
        const int count = int(least(width - j, kChunk));
        if (call.prefetches) prefetcher.advance(coordinates, r + kPrefetchRows, base, m, count);
        chunk.locate(coordinates, locator, j, count, slopes);
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
};

// ---- What knows of the kernel: W taps along an axis ---------------------------------------------

// What pixels of a chunk are read with; copied into the functions that do, where nothing that is
// stored can change it, so that it stays in registers.
template <class T, int D, int W>
struct ChunkReading {
  const Chunk<T, D>& chunk;
  const bool copied;
  T *const base, *const spare;
  const int64_t m;
  int64_t offsets[kTaps<D, W>];  // from the base to each tap
  const bool prefetches;
  const Prefetcher<T, D> prefetcher;

  STN_INLINE explicit ChunkReading(const Interleaved<T, D>& p)
      : chunk(p.chunk),
        copied(p.call.pad > 0),
        base(p.base),
        spare(p.spare),
        m(p.m),
        prefetches(p.call.prefetches),
        prefetcher(p.prefetcher) {
    const Strides strides{p.call.stride(), p.call.slice()};
    STN_UNROLL
    for (int n = 0; n < kTaps<D, W>; ++n) offsets[n] = tap_offset<D, W>(strides, n) * m;
  }

  // Where the taps of pixel k are.
  STN_INLINE void taps(int k, T** at) const {
    T* first = base + int64_t(chunk.index[k]) * m;
    STN_UNROLL
    for (int n = 0; n < kTaps<D, W>; ++n) at[n] = first + offsets[n];
    if (!chunk.scattered[k]) return;
    for (int n = 0; n < kTaps<D, W>; ++n) {
      const int32_t place = chunk.place[n][k];
      at[n] = place < 0 ? spare : base + place * m;
    }
  }
  // A share of the rows, if these are prefetched, or else what a pixel soon after pixel k reads.
  STN_INLINE void prefetch(int k, int count) const {
    constexpr int distance = 3, line = 64 / sizeof(T);
    if (prefetches) return prefetcher.template some<false>(0, k, 1);
    if (copied || k + distance >= count) return;
    const T* first = base + int64_t(chunk.index[k + distance]) * m;
    STN_UNROLL
    for (int n = 0; n < kTaps<D, W>; n += W) {
      for (int64_t c = 0; c < W * m; c += line) __builtin_prefetch(first + offsets[n] + c);
    }
  }
  // The weights of pixel k, each in all lanes.
  STN_INLINE void weights(int k, Vec<T> (*w)[W], Vec<T> (*slope)[W]) const {
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
STN_NOINLINE void forward_chunk(const Interleaved<T, D>& p, int count, T* out) {
  const ChunkReading<T, D, W> reading(p);
  const int64_t m = reading.m;
  for (int k = 0; k < count; ++k, out += m) {
    if (reading.chunk.invalid[k]) {
      memcpy(out, reading.spare, size_t(m) * sizeof(T));
      continue;
    }
    T* at[kTaps<D, W>];
    Vec<T> w[D][W];
    reading.prefetch(k, count);
    reading.taps(k, at);
    reading.weights(k, w, nullptr);
    prefetch_lines<true>(out + kPrefetchDistance<T>, m);
    for (int64_t c = 0; c < m; c += kLanes<T>) {
      Vec<T> values[kTaps<D, W>];
      STN_UNROLL
      for (int n = 0; n < kTaps<D, W>; ++n) values[n] = load<Vec<T>>(at[n] + c);
      store(out + c, weighted<Vec<T>, D, W>(values, w));
    }
  }
}

// dL/du, summed over channels: eight sums side by side, however wide the vectors are.
template <class T, int D>
using ChunkSlopes = T[D][kChunk + kGroup];

template <class T, int D, int W>
STN_NOINLINE void slopes_chunk(const Interleaved<T, D>& p, int count, const T* grad,
                               ChunkSlopes<T, D>& slopes) {
  constexpr int wide = kLanes<T>, vectors = kChannelGroup / wide;
  const ChunkReading<T, D, W> reading(p);
  const int64_t m = reading.m;
  for (int k = 0; k < count; ++k, grad += m) {
    for (int a = 0; a < D; ++a) slopes[a][k] = 0;
    if (reading.chunk.invalid[k]) continue;
    T* from[kTaps<D, W>];
    reading.prefetch(k, count);
    reading.taps(k, from);
    Vec<T> sum[D][vectors] = {}, w[D][W], slope[D][W];
    reading.weights(k, w, slope);
    prefetch_lines<false>(grad + kPrefetchDistance<T>, m);
    for (int64_t c = 0; c < m; c += kChannelGroup) {
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
      T side[kChannelGroup];
      STN_UNROLL
      for (int v = 0; v < vectors; ++v) store(side + v * wide, sum[a][v]);
      slopes[a][k] = reading.chunk.sign[a][k] * (((side[0] + side[4]) + (side[1] + side[5])) +
                                                 ((side[2] + side[6]) + (side[3] + side[7])));
    }
  }
}

// Equation (6), added to p.base.
template <class T, int D, int W>
STN_NOINLINE void scatter_chunk(const Interleaved<T, D>& p, int count, const T* grad) {
  const ChunkReading<T, D, W> reading(p);
  const int64_t m = reading.m;
  for (int k = 0; k < count; ++k, grad += m) {
    if (reading.chunk.invalid[k]) continue;
    T* at[kTaps<D, W>];
    T weights[kTaps<D, W>];
    reading.taps(k, at);
    STN_UNROLL
    for (int n = 0; n < kTaps<D, W>; ++n) {
      const T on = reading.chunk.w[0][n % W][k] * reading.chunk.w[1][n / W % W][k];
      weights[n] = D == 3 ? on * reading.chunk.w[D - 1][n / (W * W)][k] : on;
    }
    prefetch_lines<false>(grad + kPrefetchDistance<T>, m);
    for (int64_t c = 0; c < m; c += kLanes<T>) {
      const Vec<T> g = load<Vec<T>>(grad + c);
      STN_UNROLL
      for (int n = 0; n < kTaps<D, W>; ++n) {
        store(at[n] + c, load<Vec<T>>(at[n] + c) + g * weights[n]);
      }
    }
  }
}

// ---- The passes ---------------------------------------------------------------------------------

template <class T, int D>
void interleaved_forward(const Call<T>& call, int64_t b, int64_t first, int64_t last, int64_t low,
                         int64_t high) {
  auto forward = forward_chunk<T, D, 2>;
  if constexpr (D == 2) {
    if (call.p.kernel == kCubic) forward = forward_chunk<T, D, 4>;
  }
  Interleaved<T, D> p(call, b);
  for (int64_t block = low; block < high; block += call.block) {
    p.open(block, least(block + call.block, high), first, last);
    p.for_chunks(first, last, false, [&](int64_t r, int64_t j, int count) {
      forward(p, count, p.chunk_of(call.out, r, j));
      p.template exchange<true>(call.out, r, j, count);
    });
  }
}

template <class T, int D>
void interleaved_map_gradient(const Call<T>& call, int64_t b, int64_t first, int64_t last,
                              double* part) {
  auto find_slopes = slopes_chunk<T, D, 2>;
  if constexpr (D == 2) {
    if (call.p.kernel == kCubic) find_slopes = slopes_chunk<T, D, 4>;
  }
  Interleaved<T, D> p(call, b);
  MapGradient<T, D> gradient(call, p.coordinates, b);
  ChunkSlopes<T, D> slopes;
  for (int64_t block = 0; block < call.p.channels; block += call.block) {
    p.open(block, least(block + call.block, call.p.channels), first, last);
    gradient.add = block > 0;
    p.for_chunks(first, last, true, [&](int64_t r, int64_t j, int count) {
      p.template exchange<false>(call.grad, r, j, count);
      find_slopes(p, count, p.chunk_of(call.grad, r, j), slopes);
      gradient.pixels(r, j, count, slopes[0], kChunk + kGroup);
    });
  }
  gradient.close(part);
}

// Equation (6) of rows [first, last) of an output, added to p.base.
template <class T, int D>
STN_NOINLINE void interleaved_scatter(Interleaved<T, D>& p, int64_t first, int64_t last) {
  auto scatter = scatter_chunk<T, D, 2>;
  if constexpr (D == 2) {
    if (p.call.p.kernel == kCubic) scatter = scatter_chunk<T, D, 4>;
  }
  p.for_chunks(first, last, false, [&](int64_t r, int64_t j, int count) {
    p.template exchange<false>(p.call.grad, r, j, count);
    scatter(p, count, p.chunk_of(p.call.grad, r, j));
  });
}

}  // namespace
}  // namespace stn::STN_SET
