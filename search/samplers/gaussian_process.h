// A Gaussian process over (config, rung): additive and joint (Matern-5/2, one length per dimension)
// similarity of configs, exponential similarity of rungs. After MOBSTER (Klein, Tiao, Lienart, Archambeau,
// Seeger 2020); kernel and priors: docs/design.md, "Search". Not thread-safe.
#pragma once

#include <optional>
#include <vector>

#include <Eigen/Dense>

namespace rung {

class GaussianProcess {
 public:
  // Results: configs x (n, d) as of Encoding::Filled, rungs z (n) on [0, 1], standardised values y (n).
  struct Data {
    Eigen::MatrixXd x;
    Eigen::VectorXd z, y;
  };

  // `choices` as of Encoding.
  explicit GaussianProcess(std::vector<int> choices);

  // ln length per dimension | ln additive amplitude per dimension | ln joint amplitude | ln length over rungs
  // | ln noise at the top | its growth towards the bottom. Starts at the means of their priors.
  const Eigen::VectorXd& parameters() const { return parameters_; }
  void set_parameters(Eigen::VectorXd parameters);

  // Moves the parameters towards the maximum of their posterior given `data`: `steps` of Rprop- (Igel and
  // Huesken 2000); the best point seen is kept.
  void Fit(const Data& data, int steps);

  // Takes the data in; At then answers. Requires n >= 1.
  void Condition(Data data);
  const Data& data() const { return data_; }

  // What is expected at rung z for points (q, d).
  struct Prediction {
    Eigen::VectorXd mean, variance;
  };
  Prediction At(const Eigen::MatrixXd& points, double z) const;

  // ln posterior of parameters up to a constant, and its gradient where asked; nullopt where the kernel
  // matrix is not positive definite.
  std::optional<double> LogPosterior(const Data& data, const Eigen::VectorXd& parameters,
                                     Eigen::VectorXd* gradient) const;

 private:
  struct Kernel;
  Kernel Unpacked(const Eigen::VectorXd& parameters) const;
  void Compare(const Kernel& kernel, const Eigen::MatrixXd& rows, const Eigen::MatrixXd& to,
               Eigen::Index column, Eigen::Index first, Eigen::ArrayXd& squares, Eigen::ArrayXd& sums) const;

  const std::vector<int> choices_;
  Eigen::VectorXd prior_mean_, prior_sd_;
  Eigen::VectorXd parameters_;
  Data data_;
  Eigen::MatrixXd factor_;   // lower Cholesky factor of the kernel matrix of data_
  Eigen::VectorXd weights_;  // the inverse of that matrix times y
};

// Expected improvement below `target` of a normal prediction (Jones, Schonlau, Welch 1998).
double ExpectedImprovement(double target, double mean, double variance);

}  // namespace rung
