"""Vectors in a Spark job: a column of contents to a column of vectors and one of reasons, by `predict_batch_udf`.

    $ pip install 'hamsa-runtime[embed,openvino]' pyspark pandas
    $ spark-submit spark_job.py BUNDLE photos/ vectors/

PySpark 4.3. Each Python worker of Spark opens one Engine, of one thread, and keeps it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, when
from pyspark.sql.types import ArrayType, FloatType, StringType, StructField, StructType

ROW = StructType([StructField("embedding", ArrayType(FloatType())), StructField("error", StringType())])


def embedder_of(bundle: str) -> Callable[[np.ndarray], list[dict[str, object]]]:
    """Called on each worker: nothing of an Engine goes from one process to another."""
    from hamsa_runtime.ray import Embedder

    embedder = Embedder(bundle)

    def rows(contents: np.ndarray) -> list[dict[str, object]]:
        found = embedder({"bytes": np.array([bytes(each) for each in contents], object)})
        pairs = zip(found["embedding"], found["error"], strict=True)
        return [{"embedding": vector, "error": error or ""} for vector, error in pairs]  # it refuses None

    return rows


if __name__ == "__main__":
    bundle, images, output = sys.argv[1:]
    spark = SparkSession.builder.appName("vectors").getOrCreate()
    files = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(images)
    vectors = predict_batch_udf(lambda: embedder_of(bundle), return_type=ROW, batch_size=256)
    rows = files.select("path", vectors("content").alias("row")).select(
        "path",
        when(col("row.error") == "", col("row.embedding")).alias("embedding"),
        when(col("row.error") != "", col("row.error")).alias("error"),
    )
    rows.write.mode("errorifexists").parquet(output)
    written = spark.read.parquet(output)
    print(written.where("error is null").count(), "of", written.count())
