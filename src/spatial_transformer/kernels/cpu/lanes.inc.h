// Vectors of STN_BYTES in the compiler's own vector types: SSE2, AVX2, AVX-512 or NEON, whichever
// this is being compiled for. Without contraction to fused multiply-add (a compiler flag) all of
// them give the same bits.

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
using Vec = typename Lanes<T>::V;   // numbers
template <class T>
using Mask = typename Lanes<T>::M;  // what comparing them gives: all bits, or none
template <class T>
using Int = typename Lanes<T>::I;   // as many 32-bit integers

template <class V, class T>
STN_INLINE V load(const T* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
STN_INLINE void store(T* p, const V& v) {
  memcpy(p, &v, sizeof v);
}
// The first `left` lanes (all, if there are that many); the others are zero, or left alone.
template <class T>
STN_INLINE Vec<T> load_some(const T* p, int left) {
  if (left >= kLanes<T>) return load<Vec<T>>(p);
  T some[kLanes<T>] = {};
  for (int k = 0; k < left; ++k) some[k] = p[k];
  return load<Vec<T>>(some);
}
template <class T>
STN_INLINE void store_some(T* p, const Vec<T>& v, int left) {
  if (left >= kLanes<T>) return store(p, v);
  T some[kLanes<T>];
  store(some, v);
  for (int k = 0; k < left; ++k) p[k] = some[k];
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
// The first `left` lanes; the others are zero, whatever they were.
template <class T>
STN_INLINE Vec<T> first_lanes(const Vec<T>& v, int left) {
  return to_mask<T>(count_up<T>() < left) ? v : Vec<T>{};
}

// source[index] and source[index + 1]. Two neighbours are one load of twice the width, which is
// faster than the processors' gather instructions.
STN_INLINE void load_pairs(const float* source, const int32_t* index, Vec<float>& first,
                           Vec<float>& second) {
  typedef double Pairs __attribute__((vector_size(STN_BYTES)));
  constexpr int n = kLanes<float>;
  double p[n];
  STN_UNROLL
  for (int k = 0; k < n; ++k) memcpy(&p[k], source + index[k], 8);
#if STN_BYTES == 64
  const Pairs a = {p[0], p[1], p[4], p[5], p[8], p[9], p[12], p[13]};
  const Pairs b = {p[2], p[3], p[6], p[7], p[10], p[11], p[14], p[15]};
  const Vec<float> u = (Vec<float>)a, v = (Vec<float>)b;
  first = __builtin_shuffle(
      u, v, Int<float>{0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30});
  second = __builtin_shuffle(
      u, v, Int<float>{1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31});
#elif STN_BYTES == 16
  const Pairs a = {p[0], p[1]}, b = {p[2], p[3]};
  const Vec<float> u = (Vec<float>)a, v = (Vec<float>)b;
  first = __builtin_shuffle(u, v, Int<float>{0, 2, 4, 6});
  second = __builtin_shuffle(u, v, Int<float>{1, 3, 5, 7});
#else
  // shuffles stay within lanes of 128 bits, hence the order
  const Pairs a = {p[0], p[1], p[4], p[5]}, b = {p[2], p[3], p[6], p[7]};
  const Vec<float> u = (Vec<float>)a, v = (Vec<float>)b;
  first = __builtin_shuffle(u, v, Int<float>{0, 2, 8, 10, 4, 6, 12, 14});
  second = __builtin_shuffle(u, v, Int<float>{1, 3, 9, 11, 5, 7, 13, 15});
#endif
}
STN_INLINE void load_pairs(const double* source, const int32_t* index, Vec<double>& first,
                           Vec<double>& second) {
  STN_UNROLL
  for (int k = 0; k < kLanes<double>; ++k) {
    first[k] = source[index[k]];
    second[k] = source[index[k] + 1];
  }
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

// W neighbours from source[index] on.
template <class T, int W>
STN_INLINE void load_run(const T* source, const int32_t* index, Vec<T>* out) {
  if (W == 1) {
    T value[kLanes<T>];
    STN_UNROLL
    for (int k = 0; k < kLanes<T>; ++k) value[k] = source[index[k]];
    out[0] = load<Vec<T>>(value);
  } else {
    STN_UNROLL
    for (int w = 0; w < W; w += 2) load_pairs(source + w, index, out[w], out[w + 1]);
  }
}

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
