"""Data: real sets, fetched and checked; synthetic ones with known answers; maps from one data set to another.

A real set is a Dataset(x, y, x_test, y_test) of NumPy arrays. A generator takes a key and returns a Sample(x, y) of
JAX arrays. Class labels are int32 and scalar targets are real, both of shape [n].

Generators cost time and memory proportional to what they return, unless they say otherwise. All of them raise TypeError
for a key that is not a typed key and ValueError for sizes, noise levels and names out of range.
"""

from dlmath.data._algorithms import modular_addition, sparse_parity
from dlmath.data._augment import crop_and_flip
from dlmath.data._dataset import Dataset
from dlmath.data._diabetes import diabetes
from dlmath.data._fetch import DownloadError
from dlmath.data._functions import cosine_ramp, noisy_sine, peaks, peaks_classification, peaks_regression
from dlmath.data._gaussian import covariance_matrix, gaussian_features, sphere
from dlmath.data._images import cifar10, digits, fashion_mnist, mnist
from dlmath.data._inputs import average_pool, flatten, standardize, whiten
from dlmath.data._labels import one_hot, with_label_noise, with_random_labels
from dlmath.data._load import NAMES, load
from dlmath.data._mixtures import MIXTURE_1D, GaussianMixture, gaussian_mixture, gaussian_mixture_log_density
from dlmath.data._mnist1d import mnist1d
from dlmath.data._plane import (
    circles,
    ellipses,
    moons,
    rings,
    spiral,
    swiss_roll,
    swiss_roll_arms,
    swiss_roll_grid,
)
from dlmath.data._sample import Sample
from dlmath.data._subsets import class_pair, random_subset, subset
from dlmath.data._teachers import LinearSample, TeacherSample, linear_gaussian, teacher_student
from dlmath.data._text import TINY_SHAKESPEARE_CHARACTERS, tiny_shakespeare
from dlmath.data._uci import UCI_SPLITS, uci

__all__ = [
    # The records
    "Dataset",
    "Sample",
    "LinearSample",
    "TeacherSample",
    "GaussianMixture",
    # Real data
    "NAMES",
    "load",
    "digits",
    "mnist",
    "fashion_mnist",
    "cifar10",
    "mnist1d",
    "diabetes",
    "uci",
    "UCI_SPLITS",
    "tiny_shakespeare",
    "TINY_SHAKESPEARE_CHARACTERS",
    "DownloadError",
    # From one data set to another
    "subset",
    "random_subset",
    "class_pair",
    "flatten",
    "average_pool",
    "standardize",
    "whiten",
    "one_hot",
    "with_label_noise",
    "with_random_labels",
    "crop_and_flip",
    # Linear models and teachers
    "covariance_matrix",
    "gaussian_features",
    "sphere",
    "linear_gaussian",
    "teacher_student",
    # Mixtures
    "MIXTURE_1D",
    "gaussian_mixture",
    "gaussian_mixture_log_density",
    # The plane
    "moons",
    "circles",
    "ellipses",
    "rings",
    "spiral",
    "swiss_roll",
    "swiss_roll_arms",
    "swiss_roll_grid",
    # Known functions
    "peaks",
    "peaks_regression",
    "peaks_classification",
    "noisy_sine",
    "cosine_ramp",
    # Algorithms
    "sparse_parity",
    "modular_addition",
]
