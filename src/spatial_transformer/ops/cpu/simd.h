// Vectors of STN_BYTES in the compiler's own vector types: SSE2, AVX2, AVX-512 or NEON, whichever
// this is being compiled for. Without contraction to fused multiply-add (a compiler flag) all of
// them give the same bits.
//
// A unit says for which instruction set it is (STN_SET) and how wide its vectors are (STN_BYTES).
// From here on all is in an unnamed namespace of that set: what is compiled for one processor must
// not be linked in place of what is for another.
#pragma once

#include "units.h"

#ifndef STN_SET
#define STN_SET baseline
#define STN_BYTES 16
#endif

#if defined(STN_X86) && STN_BYTES > 16
#include <immintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors never cross from unit to unit

namespace stn::STN_SET {
namespace {

template <class T>
constexpr int kLanes = STN_BYTES / sizeof(T);

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float V __attribute__((vector_size(STN_BYTES)));
  typedef int32_t M __attribute__((vector_size(STN_BYTES)));
  typedef int32_t I __attribute__((vector_size(STN_BYTES)));
};
template <>
struct Lanes<double> {
  typedef double V __attribute__((vector_size(STN_BYTES)));
  typedef int64_t M __attribute__((vector_size(STN_BYTES)));
  typedef int32_t I __attribute__((vector_size(STN_BYTES / 2)));
};
template <class T>
using Vec = typename Lanes<T>::V;  // numbers
template <class T>
using Mask = typename Lanes<T>::M;  // what comparing them gives: all bits, or none
template <class T>
using Int = typename Lanes<T>::I;  // as many 32-bit integers

// Anywhere in memory, whatever is there.
template <class V>
struct __attribute__((packed, may_alias)) Unaligned {
  V v;
};
template <class V, class T>
STN_INLINE V load(const T* p) {
  return reinterpret_cast<const Unaligned<V>*>(p)->v;
}
template <class V, class T>
STN_INLINE void store(T* p, const V& v) {
  reinterpret_cast<Unaligned<V>*>(p)->v = v;
}
template <class T>
STN_INLINE Vec<T> splat(T x) {
  return x - Vec<T>{};  // and not x + 0, which is not x for -0
}
template <class T>
STN_INLINE Int<T> to_int(const Vec<T>& v) {
  return __builtin_convertvector(v, Int<T>);
}
template <class T>
STN_INLINE Int<T> to_int_mask(const Mask<T>& m) {
  return __builtin_convertvector(m, Int<T>);
}
template <class T>
STN_INLINE Mask<T> to_mask(const Int<T>& m) {
  return __builtin_convertvector(m, Mask<T>);
}
template <class T>
constexpr T kEpsilon = sizeof(T) == 4 ? T(1.1920928955078125e-07) : T(2.220446049250313e-16);
// floor for |v| < 2^31; SSE2 has no such instruction
template <class T>
STN_INLINE Vec<T> floor_small(const Vec<T>& v) {
  const Vec<T> whole = __builtin_convertvector(to_int<T>(v), Vec<T>);
  return whole > v ? whole - 1 : whole;
}
// Whether any lane of what a comparison gave is set. Not by way of memory, which would take longer
// than all the comparisons.
template <class M>
STN_INLINE bool any(const M& m) {
#if defined(STN_X86) && STN_BYTES == 64
  if constexpr (sizeof(M) == 64) return _mm512_movepi32_mask((__m512i)m) != 0;
#endif
#if STN_BYTES == 32
  typedef float V __attribute__((vector_size(32)));
  if constexpr (sizeof(M) == 32) return __builtin_ia32_movmskps256((V)m) != 0;
#endif
  int64_t words[sizeof(M) / 8], all = 0;
  memcpy(words, &m, sizeof m);
  for (size_t k = 0; k < sizeof(M) / 8; ++k) all |= words[k];
  return all != 0;
}

// As many numbers as a vector of doubles has, as one.
template <class T>
STN_INLINE Vec<double> load_as_double(const T* p) {
  typedef T Few __attribute__((vector_size(kLanes<double> * sizeof(T))));
  return __builtin_convertvector(load<Few>(p), Vec<double>);
}

template <class T>
STN_INLINE Int<T> count_up() {
  Int<T> lane;
  STN_UNROLL
  for (int k = 0; k < kLanes<T>; ++k) lane[k] = k;
  return lane;
}
// The first `remaining` lanes (all, if there are that many; none, if that is negative); the others
// are zero, or not written.
template <class T>
STN_INLINE Vec<T> load_some(const T* p, int remaining) {
  if (remaining >= kLanes<T>) return load<Vec<T>>(p);
#if defined(STN_X86) && STN_BYTES == 64
  const unsigned first = remaining > 0 ? (1u << remaining) - 1 : 0;
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_loadu_ps(__mmask16(first), p);
  if constexpr (sizeof(T) == 8) return (Vec<T>)_mm512_maskz_loadu_pd(__mmask8(first), p);
#endif
#if defined(STN_X86) && STN_BYTES == 32
  const Mask<T> first = to_mask<T>(count_up<T>() < remaining);
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_maskload_ps(p, (__m256i)first);
  if constexpr (sizeof(T) == 8) return (Vec<T>)_mm256_maskload_pd(p, (__m256i)first);
#endif
  T some[kLanes<T>] = {};
  for (int k = 0; k < remaining; ++k) some[k] = p[k];
  return load<Vec<T>>(some);
}
template <class T>
STN_INLINE void store_some(T* p, const Vec<T>& v, int remaining) {
  if (remaining >= kLanes<T>) return store(p, v);
#if defined(STN_X86) && STN_BYTES == 64
  const unsigned first = remaining > 0 ? (1u << remaining) - 1 : 0;
  if constexpr (sizeof(T) == 4) return _mm512_mask_storeu_ps(p, __mmask16(first), (__m512)v);
  if constexpr (sizeof(T) == 8) return _mm512_mask_storeu_pd(p, __mmask8(first), (__m512d)v);
#endif
#if defined(STN_X86) && STN_BYTES == 32
  const Mask<T> first = to_mask<T>(count_up<T>() < remaining);
  if constexpr (sizeof(T) == 4) return _mm256_maskstore_ps(p, (__m256i)first, (__m256)v);
  if constexpr (sizeof(T) == 8) return _mm256_maskstore_pd(p, (__m256i)first, (__m256d)v);
#endif
  T some[kLanes<T>];
  store(some, v);
  for (int k = 0; k < remaining; ++k) p[k] = some[k];
}
// The first `remaining` lanes; the others are zero, whatever they were.
template <class T>
STN_INLINE Vec<T> first_lanes(const Vec<T>& v, int remaining) {
  return to_mask<T>(count_up<T>() < remaining) ? v : Vec<T>{};
}

// Four or eight pairs of floats, each as a double. Taking them into their lanes while they are
// being loaded leaves the processor's one port for shuffles free.
#if defined(STN_X86) && STN_BYTES >= 32
STN_INLINE __m256d take_pairs(const float* source, int64_t a, int64_t b, int64_t c, int64_t d) {
  const auto at = [&](int64_t k) STN_LAMBDA {
    double pair;
    memcpy(&pair, source + k, sizeof pair);
    return pair;
  };
  __m256d pairs = _mm256_castpd128_pd256(_mm_set_sd(at(a)));
#if STN_BYTES == 64  // with masks loading and placing is one instruction
  pairs = _mm256_mask_mov_pd(pairs, 2, _mm256_set1_pd(at(b)));
  pairs = _mm256_mask_mov_pd(pairs, 4, _mm256_set1_pd(at(c)));
  return _mm256_mask_mov_pd(pairs, 8, _mm256_set1_pd(at(d)));
#else
  pairs = _mm256_blend_pd(pairs, _mm256_set1_pd(at(b)), 2);
  pairs = _mm256_blend_pd(pairs, _mm256_set1_pd(at(c)), 4);
  return _mm256_blend_pd(pairs, _mm256_set1_pd(at(d)), 8);
#endif
}
#endif
#if defined(STN_X86) && STN_BYTES == 64
STN_INLINE __m512d join(__m256d low, __m256d high) {
  return _mm512_insertf64x4(_mm512_castpd256_pd512(low), high, 1);
}
STN_INLINE __m512d gather_pairs(const float* source, const int32_t* i) {
  return _mm512_i32gather_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(i)), source, 4);
}
// Whether gathering is faster here: it is on some processors, and many times slower on others.
inline bool gathering_pays() {
  float source[1024] = {};
  int32_t index[1024];
  for (int k = 0; k < 1024; ++k) index[k] = k * 37 % 1000;
  int64_t best[2] = {INT64_MAX, INT64_MAX};
  __m512d sum = _mm512_setzero_pd();
  for (int round = 0; round < 16; ++round) {
    const auto time = [&](int which, const auto& take) {
      const int64_t start = int64_t(__rdtsc());
      for (int k = 0; k < 1024; k += 8) sum = _mm512_add_pd(sum, take(index + k));
      const int64_t ticks = int64_t(__rdtsc()) - start;
      if (ticks < best[which]) best[which] = ticks;
    };
    time(0, [&](const int32_t* i) {
      return join(take_pairs(source, i[0], i[1], i[2], i[3]),
                  take_pairs(source, i[4], i[5], i[6], i[7]));
    });
    time(1, [&](const int32_t* i) { return gather_pairs(source, i); });
  }
  asm volatile("" ::"v"(sum));
  return best[1] < best[0];
}
template <class T>
constexpr bool kMayGather = sizeof(T) == 4;
#else
template <class T>
constexpr bool kMayGather = false;
#endif

// From each of N sources the neighbours source[index] and source[index + 1], in turn: two
// neighbours are one load of twice the width. Few pixels are read from all sources before the next
// few, so that their indices stay in registers.
template <bool Gather, int N>
STN_INLINE void load_pairs(const float* const* sources, const int32_t* index, Vec<float>* out) {
#if STN_BYTES == 64
  Vec<float> halves[N][2];
  STN_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int32_t* i = index + 8 * h;
    __m256d quarters[N][2];
    STN_UNROLL
    for (int q = 0; q < 2 && !Gather; ++q) {
      const int64_t a = i[4 * q], b = i[4 * q + 1], c = i[4 * q + 2], d = i[4 * q + 3];
      STN_UNROLL
      for (int n = 0; n < N; ++n) quarters[n][q] = take_pairs(sources[n], a, b, c, d);
    }
    STN_UNROLL
    for (int n = 0; n < N; ++n) {
      halves[n][h] =
          (Vec<float>)(Gather ? gather_pairs(sources[n], i) : join(quarters[n][0], quarters[n][1]));
    }
  }
  STN_UNROLL
  for (int n = 0; n < N; ++n) {
    const Vec<float> u = halves[n][0], v = halves[n][1];
    out[2 * n] = __builtin_shuffle(
        u, v, Int<float>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30});
    out[2 * n + 1] = __builtin_shuffle(
        u, v, Int<float>{1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31});
  }
#elif STN_BYTES == 32
  // shuffles stay within lanes of 128 bits, hence the order
  Vec<float> halves[N][2];
  STN_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int32_t* i = index + 2 * h;
    const int64_t a = i[0], b = i[1], c = i[4], d = i[5];
    STN_UNROLL
    for (int n = 0; n < N; ++n) halves[n][h] = (Vec<float>)take_pairs(sources[n], a, b, c, d);
  }
  STN_UNROLL
  for (int n = 0; n < N; ++n) {
    const Vec<float> u = halves[n][0], v = halves[n][1];
    out[2 * n] = __builtin_shuffle(u, v, Int<float>{0, 2, 8, 10, 4, 6, 12, 14});
    out[2 * n + 1] = __builtin_shuffle(u, v, Int<float>{1, 3, 9, 11, 5, 7, 13, 15});
  }
#else
  typedef double Pairs __attribute__((vector_size(16)));
  STN_UNROLL
  for (int n = 0; n < N; ++n) {
    double p[4];
    STN_UNROLL
    for (int k = 0; k < 4; ++k) memcpy(&p[k], sources[n] + index[k], 8);
    const Vec<float> u = (Vec<float>)Pairs{p[0], p[1]}, v = (Vec<float>)Pairs{p[2], p[3]};
    out[2 * n] = __builtin_shuffle(u, v, Int<float>{0, 2, 4, 6});
    out[2 * n + 1] = __builtin_shuffle(u, v, Int<float>{1, 3, 5, 7});
  }
#endif
}
template <bool Gather, int N>
STN_INLINE void load_pairs(const double* const* sources, const int32_t* index, Vec<double>* out) {
  STN_UNROLL
  for (int n = 0; n < N; ++n) {
    STN_UNROLL
    for (int k = 0; k < kLanes<double>; ++k) {
      out[2 * n][k] = sources[n][index[k]];
      out[2 * n + 1][k] = sources[n][index[k] + 1];
    }
  }
}

// source[index], or `other` where the index is negative.
template <class T>
STN_INLINE Vec<T> load_known(const T* source, const int32_t* index, T other) {
#if defined(STN_X86) && STN_BYTES == 64
  if constexpr (sizeof(T) == 4) {
    const __m512i at = _mm512_loadu_si512(index);
    const __mmask16 known = __mmask16(~_mm512_movepi32_mask(at));
    return (Vec<T>)_mm512_mask_i32gather_ps(_mm512_set1_ps(other), known, at, source, 4);
  }
#endif
  T value[kLanes<T>];
  for (int k = 0; k < kLanes<T>; ++k) value[k] = index[k] < 0 ? other : source[index[k]];
  return load<Vec<T>>(value);
}

// Indices in memory, one by one: extracting them from a vector takes longer.
template <class T>
struct Indices {
  int32_t at[kLanes<T>];
  STN_INLINE explicit Indices(const Int<T>& index) {
    store(at, index);
    asm("" : "+m"(at));
  }
};

// Four rows of four numbers, turned into columns.
STN_INLINE void transpose4(const float* from, int64_t stride, float* to, int64_t to_stride) {
  typedef float F __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  const F a = load<F>(from), b = load<F>(from + stride);
  const F c = load<F>(from + 2 * stride), d = load<F>(from + 3 * stride);
  const F ab = __builtin_shuffle(a, b, I{0, 4, 1, 5}), ba = __builtin_shuffle(a, b, I{2, 6, 3, 7});
  const F cd = __builtin_shuffle(c, d, I{0, 4, 1, 5}), dc = __builtin_shuffle(c, d, I{2, 6, 3, 7});
  store(to, F(__builtin_shuffle(ab, cd, I{0, 1, 4, 5})));
  store(to + to_stride, F(__builtin_shuffle(ab, cd, I{2, 3, 6, 7})));
  store(to + 2 * to_stride, F(__builtin_shuffle(ba, dc, I{0, 1, 4, 5})));
  store(to + 3 * to_stride, F(__builtin_shuffle(ba, dc, I{2, 3, 6, 7})));
}
STN_INLINE void transpose4(const double* from, int64_t stride, double* to, int64_t to_stride) {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) to[j * to_stride + i] = from[i * stride + j];
  }
}

}  // namespace
}  // namespace stn::STN_SET
